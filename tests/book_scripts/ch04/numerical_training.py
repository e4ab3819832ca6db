"""Training by the numerical gradient, on few pixels; the module of chapter 4 by `import ... as`."""

import numpy as np
import two_layer_net as tln
from dataset.mnist import load_mnist

(x_train, t_train), (x_test, t_test) = load_mnist(normalize=True, one_hot=True)
x = x_train.reshape(-1, 28, 28)[:20, 10:18:2, 10:18:2].reshape(20, -1)
t = t_train[:20]
np.random.seed(7)
network = tln.TwoLayerNet(input_size=16, hidden_size=4, output_size=10)
losses = []
for i in range(3):
    grad = network.numerical_gradient(x, t)
    for key in ("W1", "b1", "W2", "b2"):
        network.params[key] -= 0.5 * grad[key]
    losses.append(network.loss(x, t))
W1 = np.array(network.params["W1"])
