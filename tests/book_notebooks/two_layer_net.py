# %%
import sys, os

sys.path.append(os.pardir)
import numpy as np
from two_layer_net import TwoLayerNet

np.random.seed(2)
net = TwoLayerNet(input_size=12, hidden_size=4, output_size=3)
x, t = np.random.rand(6, 12), np.eye(3)[np.random.randint(3, size=6)]
net.params["W1"].shape, net.predict(x).shape

# %% [markdown]
# The gradient of a batch: why does it not work?

# %%
try:
    labels = net.gradient(x, t.argmax(axis=1))
except ValueError as error:
    print("does not work:", error)

# %%
numerical, backprop = net.numerical_gradient(x, t), net.gradient(x, t)
results = [np.abs(numerical[key] - backprop[key]).max() for key in numerical]
results += [value for g in (numerical, backprop) for key in g for value in g[key].ravel()]

# %%
for i in range(20):
    grad = net.gradient(x, t)
    for key in grad:
        net.params[key] -= 0.1 * grad[key]
results += [net.loss(x, t), net.accuracy(x, t)]
net
