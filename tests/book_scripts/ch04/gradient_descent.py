"""The book's gradient descent on x0² + x1², with a figure of the path."""

import matplotlib.pylab as plt
import numpy as np
from common.gradient import numerical_gradient


def function_2(x):
    return x[0] ** 2 + x[1] ** 2


def gradient_descent(f, init_x, lr=0.01, step_num=100):
    x = init_x
    x_history = []
    for i in range(step_num):
        x_history.append(x.copy())
        grad = numerical_gradient(f, x)
        x -= lr * grad
    return x, np.array(x_history)


minimum, x_history = gradient_descent(function_2, np.array([-3.0, 4.0]), lr=0.1)
too_large, _ = gradient_descent(function_2, np.array([-3.0, 4.0]), lr=10.0)
too_small, _ = gradient_descent(function_2, np.array([-3.0, 4.0]), lr=1e-10)
print(minimum)

plt.plot(x_history[:, 0], x_history[:, 1], "o")
plt.xlabel("X0")
plt.ylabel("X1")
plt.show()
