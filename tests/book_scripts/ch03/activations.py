"""The curves of the activation functions, and a figure of them."""

import matplotlib.pyplot as plt
import numpy as np
from common import functions
from common.functions import relu, sigmoid, step_function

x = np.arange(-5.0, 5.0, 0.1)
curves = {"step": step_function(x).astype(float), "sigmoid": sigmoid(x), "relu": relu(x)}
alike = functions.sigmoid(1.0) == sigmoid(1.0)
for name, y in curves.items():
    plt.plot(x, y, label=name)
plt.ylim(-0.1, 1.1)
plt.legend()
plt.show()
