import os
import sys

sys.path.append(os.pardir)
import numpy as np
from common.multi_layer_net import MultiLayerNet
from common.optimizer import SGD
from dataset.mnist import load_mnist

(x_train, t_train), (x_test, t_test) = load_mnist(normalize=True)
x_train, t_train = x_train[:300], t_train[:300]
np.random.seed(8)
network = MultiLayerNet(784, [12, 12, 12], 10, weight_decay_lambda=0.1)
optimizer = SGD(lr=0.01)
train_acc_list, test_acc_list = [], []
for i in range(9):
    rows = np.random.choice(len(x_train), 100)
    optimizer.update(network.params, network.gradient(x_train[rows], t_train[rows]))
    if i % 3 == 0:
        train_acc_list.append(network.accuracy(x_train, t_train))
        test_acc_list.append(network.accuracy(x_test, t_test))
weights = network.params
