"""The reader's own network of any number of layers, with weight decay."""

from collections import OrderedDict

import numpy as np
from common.gradient import numerical_gradient
from common.layers import *


class MultiLayerNet:
    def __init__(
        self,
        input_size,
        hidden_size_list,
        output_size,
        activation="relu",
        weight_init_std="relu",
        weight_decay_lambda=0,
    ):
        self.sizes = [input_size, *hidden_size_list, output_size]
        self.weight_decay_lambda = weight_decay_lambda
        self.params = {}
        self.layers = OrderedDict()
        kinds = {"sigmoid": Sigmoid, "relu": Relu}
        for i in range(1, len(self.sizes)):
            n = self.sizes[i - 1]
            scale = {"relu": np.sqrt(2 / n), "he": np.sqrt(2 / n), "sigmoid": np.sqrt(1 / n)}.get(
                str(weight_init_std).lower(), weight_init_std
            )
            self.params["W" + str(i)] = scale * np.random.randn(n, self.sizes[i])
            self.params["b" + str(i)] = np.zeros(self.sizes[i])
            self.layers["Affine" + str(i)] = Affine(
                self.params["W" + str(i)], self.params["b" + str(i)]
            )
            if i < len(self.sizes) - 1:
                self.layers["Activation" + str(i)] = kinds[activation]()
        self.last_layer = SoftmaxWithLoss()

    def predict(self, x):
        for layer in self.layers.values():
            x = layer.forward(x)
        return x

    def loss(self, x, t):
        decay = sum(np.sum(self.params[key] ** 2) for key in self.params if key[0] == "W")
        return self.last_layer.forward(self.predict(x), t) + 0.5 * self.weight_decay_lambda * decay

    def accuracy(self, x, t):
        t = t if t.ndim == 1 else np.argmax(t, axis=1)
        return np.mean(np.argmax(self.predict(x), axis=1) == t)

    def numerical_gradient(self, x, t):
        f = lambda W: self.loss(x, t)
        return {key: numerical_gradient(f, p) for key, p in self.params.items()}

    def gradient(self, x, t):
        self.loss(x, t)
        dout = self.last_layer.backward(1)
        for layer in list(self.layers.values())[::-1]:
            dout = layer.backward(dout)
        grads = {}
        for i in range(1, len(self.sizes)):
            affine = self.layers["Affine" + str(i)]
            grads["W" + str(i)] = affine.dW + self.weight_decay_lambda * affine.W
            grads["b" + str(i)] = affine.db
        return grads
