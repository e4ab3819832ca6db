import matplotlib.pyplot as plt
import numpy as np
from common.functions import relu, sigmoid

np.random.seed(4)
x = np.random.randn(200, 30)
activations = {}
for i in range(4):
    x = activations[i - 1] if i else x
    w = np.random.randn(30, 30) * np.sqrt(1.0 / 30)
    activations[i] = sigmoid(np.dot(x, w))
for i, a in activations.items():
    plt.subplot(1, 4, i + 1)
    plt.hist(a.flatten(), 30, range=(0, 1))
plt.show()
means = [a.mean() for a in activations.values()] + [relu(x).mean()]
