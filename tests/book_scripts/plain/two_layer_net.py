"""Chapter 4's network, which readers import without having it in every folder."""

import numpy as np
from common.functions import *
from common.gradient import numerical_gradient


class TwoLayerNet:
    def __init__(self, input_size, hidden_size, output_size, weight_init_std=0.01):
        sizes = input_size, hidden_size, output_size
        self.params = {}
        for i in (1, 2):
            W = np.random.randn(sizes[i - 1], sizes[i])
            self.params[f"W{i}"] = weight_init_std * W
            self.params[f"b{i}"] = np.zeros(sizes[i])

    def _hidden(self, x):
        return sigmoid(np.dot(x, self.params["W1"]) + self.params["b1"])

    def predict(self, x):
        return softmax(np.dot(self._hidden(x), self.params["W2"]) + self.params["b2"])

    def loss(self, x, t):
        return cross_entropy_error(self.predict(x), t)

    def accuracy(self, x, t):
        found = self.predict(x).argmax(axis=1)
        expected = t if t.ndim == 1 else t.argmax(axis=1)
        return np.mean(found == expected)

    def numerical_gradient(self, x, t):
        return {k: numerical_gradient(lambda _: self.loss(x, t), p) for k, p in self.params.items()}

    def gradient(self, x, t):
        z = self._hidden(x)
        delta2 = (self.predict(x) - t) / len(x)
        delta1 = np.dot(delta2, self.params["W2"].T) * z * (1 - z)
        return {
            "W1": np.dot(x.T, delta1),
            "b1": delta1.sum(axis=0),
            "W2": np.dot(z.T, delta2),
            "b2": delta2.sum(axis=0),
        }
