"""Losses by hand beside the book's, one sample and a batch."""

import numpy as np
from common.functions import cross_entropy_error, mean_squared_error, softmax, sum_squared_error

t = np.array([0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
y = np.array([0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0])
by_hand = -np.sum(t * np.log(y + 1e-7))
of_the_book = cross_entropy_error(y, t)
squared = [mean_squared_error(y, t), sum_squared_error(y, t)]
np.random.seed(0)
ys = softmax(np.random.randn(5, 10))
ts = np.random.randint(10, size=5)
batch = [cross_entropy_error(ys, ts), cross_entropy_error(ys, np.eye(10)[ts])]
