# coding: utf-8
import os
import sys

sys.path.append(os.pardir)
import matplotlib.pyplot as plt
import numpy as np
from common.multi_layer_net import MultiLayerNet
from common.optimizer import *
from common.util import smooth_curve
from dataset.mnist import load_mnist

(x_train, t_train), (x_test, t_test) = load_mnist(normalize=True)
np.random.seed(6)
optimizers = {"SGD": SGD(), "Momentum": Momentum(), "AdaGrad": AdaGrad(), "Adam": Adam()}
networks, train_loss = {}, {}
for key in optimizers.keys():
    networks[key] = MultiLayerNet(784, [20, 20], 10)
    train_loss[key] = []
for i in range(12):
    batch_mask = np.random.choice(len(x_train), 32)
    x_batch, t_batch = x_train[batch_mask], t_train[batch_mask]
    for key in optimizers.keys():
        grads = networks[key].gradient(x_batch, t_batch)
        optimizers[key].update(networks[key].params, grads)
        train_loss[key].append(networks[key].loss(x_batch, t_batch))
smooth = {key: smooth_curve(losses) for key, losses in train_loss.items()}
for key in optimizers.keys():
    plt.plot(np.arange(12), smooth[key], label=key)
plt.legend()
plt.show()
