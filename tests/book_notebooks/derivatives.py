# %%
import matplotlib.pyplot as plt
import numpy as np
from common.functions import cross_entropy_error, softmax
from common.gradient import numerical_gradient


def f(x):
    return np.sum(x**2)


results = [list(numerical_gradient(f, np.array(p))) for p in ([3.0, 4.0], [0.0, 2.0], [3.0, 0.0])]


# %%
def gradient_descent(f, init_x, lr=0.01, step_num=100):
    x, path = init_x, []
    for _ in range(step_num):
        path.append(x.copy())
        x -= lr * numerical_gradient(f, x)
    return x, np.array(path)


x, path = gradient_descent(f, np.array([-3.0, 4.0]), lr=0.1)
results += [list(x), list(path.ravel())]
plt.plot(path[:, 0], path[:, 1], "o")
plt.show()


# %%
class simpleNet:
    def __init__(self):
        self.W = np.random.randn(2, 3)

    def predict(self, x):
        return x @ self.W

    def loss(self, x, t):
        return cross_entropy_error(softmax(self.predict(x)), t)


np.random.seed(1)
net = simpleNet()
x, t = np.array([0.6, 0.9]), np.array([0, 0, 1])
dW = numerical_gradient(lambda _: net.loss(x, t), net.W)
results += [list(dW.ravel()), [net.loss(x, t)]]
results = [value for part in results for value in part]
