# coding: utf-8
import os
import sys

sys.path.append(os.pardir)  # the second edition's scripts, too
import numpy as np
from dataset.mnist import load_mnist

(x_train, t_train), (x_test, t_test) = load_mnist(flatten=True, normalize=False)
img = x_train[0]
label = int(t_train[0])
img = img.reshape(28, 28)
brightest = img.max(axis=1).astype(float)
square = load_mnist(flatten=False)[1][0][:2].astype(float)
