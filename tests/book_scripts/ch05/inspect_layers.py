"""Looks at what the layers remember after the training, as the histograms of chapter 6 do."""

import numpy as np
from two_layer_net import TwoLayerNet

np.random.seed(2)
x = np.random.rand(30, 20)
t = np.eye(4)[np.random.randint(4, size=30)]
network = TwoLayerNet(20, 8, 4, weight_init_std=0.5)
for i in range(5):
    grads = network.gradient(x, t)
    for key in grads:
        network.params[key] -= 0.1 * grads[key]
    network.loss(x, t)
mask = network.layers["Relu1"].mask.astype(float)
probabilities = network.lastLayer.y
dW = network.layers["Affine1"].dW
after = network.gradient(x, t)
dW_after = network.layers["Affine1"].dW
