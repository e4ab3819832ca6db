import matplotlib.pylab as plt
import numpy as np


def numerical_diff(f, x):
    h = 1e-4
    return (f(x + h) - f(x - h)) / (2 * h)


def function_1(x):
    return 0.01 * x**2 + 0.1 * x


def tangent_line(f, x):
    d = numerical_diff(f, x)
    y = f(x) - d * x
    return lambda t: d * t + y


x = np.arange(0.0, 20.0, 0.1)
slopes = [numerical_diff(function_1, 5), numerical_diff(function_1, 10)]
y2 = tangent_line(function_1, 5)(x)
plt.plot(x, function_1(x))
plt.plot(x, y2)
plt.show()
