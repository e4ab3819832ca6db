import os
import sys

sys.path.append(os.path.join(os.path.dirname(__file__), ".."))
import numpy as np
from common.multi_layer_net_extend import MultiLayerNetExtend
from common.optimizer import SGD, Adam
from dataset.mnist import load_mnist

(x_train, t_train), (x_test, t_test) = load_mnist(normalize=True)
np.random.seed(10)
accuracies = []
for normalized in (True, False):
    network = MultiLayerNetExtend(784, [12, 12], 10, 0.05, use_batchnorm=normalized)
    optimizer = SGD(lr=0.05)
    for i in range(6):
        rows = np.random.choice(len(x_train), 100)
        optimizer.update(network.params, network.gradient(x_train[rows], t_train[rows]))
    accuracies.append(network.accuracy(x_test, t_test))
    running = network.layers["BatchNorm1"].running_mean if normalized else running
