import os
import sys

sys.path.append(os.path.join(os.path.dirname(__file__), ".."))
import numpy as np
from common.multi_layer_net_extend import MultiLayerNetExtend

np.random.seed(11)
x_batch, t_batch = np.random.rand(4, 6), np.array([0, 2, 1, 1])
network = MultiLayerNetExtend(6, [5], 3, 0.5, use_batchnorm=True)
grad_backprop = network.gradient(x_batch, t_batch)
grad_numerical = network.numerical_gradient(x_batch, t_batch)
differences = {k: np.average(np.abs(grad_backprop[k] - grad_numerical[k])) for k in grad_numerical}
close = max(differences.values()) < 1e-6
