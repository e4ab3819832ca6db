"""The same with batch normalization and dropout."""

from collections import OrderedDict

import numpy as np
from common.gradient import numerical_gradient
from common.layers import *


class MultiLayerNetExtend:
    def __init__(
        self,
        input_size,
        hidden_size_list,
        output_size,
        weight_init_std=0.1,
        use_dropout=False,
        dropout_ration=0.5,
        use_batchnorm=False,
    ):
        sizes = [input_size, *hidden_size_list, output_size]
        self.params = {}
        self.layers = OrderedDict()
        for i in range(1, len(sizes)):
            n = str(i)
            self.params["W" + n] = weight_init_std * np.random.randn(sizes[i - 1], sizes[i])
            self.params["b" + n] = np.zeros(sizes[i])
            self.layers["Affine" + n] = Affine(self.params["W" + n], self.params["b" + n])
            if i == len(sizes) - 1:
                break
            if use_batchnorm:
                self.params["gamma" + n] = np.ones(sizes[i])
                self.params["beta" + n] = np.zeros(sizes[i])
                self.layers["BatchNorm" + n] = BatchNormalization(
                    self.params["gamma" + n], self.params["beta" + n]
                )
            self.layers["Relu" + n] = Relu()
            if use_dropout:
                self.layers["Dropout" + n] = Dropout(dropout_ration)
        self.last_layer = SoftmaxWithLoss()

    def predict(self, x, train_flg=False):
        for key, layer in self.layers.items():
            random = key.startswith(("Dropout", "BatchNorm"))
            x = layer.forward(x, train_flg) if random else layer.forward(x)
        return x

    def loss(self, x, t, train_flg=False):
        return self.last_layer.forward(self.predict(x, train_flg), t)

    def accuracy(self, x, t):
        t = t if t.ndim == 1 else np.argmax(t, axis=1)
        return np.mean(np.argmax(self.predict(x, train_flg=False), axis=1) == t)

    def numerical_gradient(self, x, t):
        f = lambda W: self.loss(x, t, train_flg=True)
        return {key: numerical_gradient(f, p) for key, p in self.params.items()}

    def gradient(self, x, t):
        self.loss(x, t, train_flg=True)
        dout = self.last_layer.backward(1)
        for layer in list(self.layers.values())[::-1]:
            dout = layer.backward(dout)
        grads = {}
        for key in self.params:
            kind, n = key[:-1], key[-1]
            layer = self.layers[("Affine" if kind in "Wb" else "BatchNorm") + n]
            grads[key] = getattr(layer, "d" + kind)
        return grads
