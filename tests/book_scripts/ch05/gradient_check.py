"""The book's gradient check: backpropagation against differences, one number a parameter."""

import numpy as np
from dataset.mnist import load_mnist
from two_layer_net import TwoLayerNet

(x_train, t_train), (x_test, t_test) = load_mnist(normalize=True, one_hot_label=True)
# The pixels of the middle, so that the loop over all parameters is short.
x_batch = x_train[:3].reshape(-1, 28, 28)[:, 12:16, 12:16].reshape(3, -1)
t_batch = t_train[:3]

np.random.seed(1)
network = TwoLayerNet(input_size=16, hidden_size=5, output_size=10)
grad_numerical = network.numerical_gradient(x_batch, t_batch)
grad_backprop = network.gradient(x_batch, t_batch)

differences = {}
for key in grad_numerical.keys():
    diff = np.average(np.abs(grad_backprop[key] - grad_numerical[key]))
    differences[key] = float(diff)
    print(key + ":" + str(diff))
