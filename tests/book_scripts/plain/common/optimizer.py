import numpy as np


class SGD:
    def __init__(self, lr=0.01):
        self.lr = lr

    def update(self, params, grads):
        for key in params.keys():
            params[key] -= self.lr * grads[key]


class _WithState:
    names = ()

    def _make(self, params):
        for name in self.names:
            if getattr(self, name, None) is None:
                setattr(self, name, {key: np.zeros_like(p) for key, p in params.items()})


class Momentum(_WithState):
    names = ("v",)

    def __init__(self, lr=0.01, momentum=0.9):
        self.lr, self.momentum = lr, momentum

    def update(self, params, grads):
        self._make(params)
        for key in params:
            self.v[key] = self.momentum * self.v[key] - self.lr * grads[key]
            params[key] += self.v[key]


class Nesterov(Momentum):
    def update(self, params, grads):
        self._make(params)
        m = self.momentum
        for key in params:
            params[key] += m * m * self.v[key] - (1 + m) * self.lr * grads[key]
            self.v[key] = m * self.v[key] - self.lr * grads[key]


class AdaGrad(_WithState):
    names = ("h",)

    def __init__(self, lr=0.01):
        self.lr = lr

    def update(self, params, grads):
        self._make(params)
        for key in params:
            self.h[key] = self.h[key] + grads[key] ** 2
            params[key] -= self.lr * grads[key] / (np.sqrt(self.h[key]) + 1e-7)


class RMSprop(_WithState):
    names = ("h",)

    def __init__(self, lr=0.01, decay_rate=0.99):
        self.lr, self.decay_rate = lr, decay_rate

    def update(self, params, grads):
        self._make(params)
        d = self.decay_rate
        for key in params:
            self.h[key] = d * self.h[key] + (1 - d) * grads[key] ** 2
            params[key] -= self.lr * grads[key] / (np.sqrt(self.h[key]) + 1e-7)


class Adam(_WithState):
    names = ("m", "v")

    def __init__(self, lr=0.001, beta1=0.9, beta2=0.999):
        self.lr, self.beta1, self.beta2, self.iter = lr, beta1, beta2, 0

    def update(self, params, grads):
        self._make(params)
        self.iter += 1
        rate = self.lr * np.sqrt(1 - self.beta2**self.iter) / (1 - self.beta1**self.iter)
        for key in params:
            self.m[key] = self.m[key] + (1 - self.beta1) * (grads[key] - self.m[key])
            self.v[key] = self.v[key] + (1 - self.beta2) * (grads[key] ** 2 - self.v[key])
            params[key] -= rate * self.m[key] / (np.sqrt(self.v[key]) + 1e-7)
