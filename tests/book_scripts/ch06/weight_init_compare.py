import os
import sys

sys.path.append(os.path.join(os.path.dirname(__file__), ".."))
import numpy as np
from common.multi_layer_net import MultiLayerNet
from common.optimizer import SGD
from common.util import smooth_curve
from dataset.mnist import load_mnist

(x_train, t_train), _ = load_mnist(normalize=True)
np.random.seed(5)
types = {"std=0.01": 0.01, "Xavier": "sigmoid", "He": "relu"}
losses = {key: [] for key in types}
networks = {key: MultiLayerNet(784, [15, 15], 10, weight_init_std=w) for key, w in types.items()}
optimizer = SGD(lr=0.05)
for i in range(11):
    rows = np.random.choice(len(x_train), 32)
    for key, network in networks.items():
        optimizer.update(network.params, network.gradient(x_train[rows], t_train[rows]))
        losses[key].append(network.loss(x_train[rows], t_train[rows]))
curves = {key: smooth_curve(np.array(values)) for key, values in losses.items()}
