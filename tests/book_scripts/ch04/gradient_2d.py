"""The gradient of x0² + x1² on a grid, and arrows."""

import matplotlib.pylab as plt
import numpy as np
from common.gradient import numerical_gradient_2d
from mpl_toolkits.mplot3d import Axes3D


def function_2(x):
    return np.sum(x**2) if x.ndim == 1 else np.sum(x**2, axis=1)


x0, x1 = np.meshgrid(np.arange(-2, 2.5, 1.0), np.arange(-2, 2.5, 1.0))
points = np.array([x0.flatten(), x1.flatten()]).T
grad = numerical_gradient_2d(function_2, points)
plt.figure()
plt.quiver(points[:, 0], points[:, 1], -grad[:, 0], -grad[:, 1], angles="xy", color="#666666")
plt.show()
