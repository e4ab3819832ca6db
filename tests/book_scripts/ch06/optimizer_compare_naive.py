"""Four optimizers on an ellipse; the parameters are plain floats."""

import os
import sys

sys.path.append(os.pardir)
from collections import OrderedDict

import matplotlib.pyplot as plt
import numpy as np
from common.optimizer import *


def df(x, y):
    return x / 10.0, 2.0 * y


params, grads, paths = {}, {}, {}
optimizers = OrderedDict()
optimizers["SGD"] = SGD(lr=0.95)
optimizers["Momentum"] = Momentum(lr=0.1)
optimizers["AdaGrad"] = AdaGrad(lr=1.5)
optimizers["Adam"] = Adam(lr=0.3)
optimizers["Nesterov"] = Nesterov(lr=0.05)
optimizers["RMSprop"] = RMSprop(lr=0.1)
for number, (key, optimizer) in enumerate(optimizers.items()):
    params["x"], params["y"] = -7.0, 2.0
    path = []
    for i in range(30):
        path.append((float(params["x"]), float(params["y"])))
        grads["x"], grads["y"] = df(params["x"], params["y"])
        optimizer.update(params, grads)
    paths[key] = np.array(path)
    plt.subplot(2, 3, number + 1)
    plt.plot(paths[key][:, 0], paths[key][:, 1], "o-", color="red")
plt.show()
