"""Three layers by hand, with weights that a pickle beside the script would hold."""

import os
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import numpy as np
from common.functions import sigmoid, softmax
from dataset.mnist import load_mnist


def init_network():
    np.random.seed(3)
    sizes = [784, 50, 100, 10]
    network = {}
    for i in range(3):
        network[f"W{i + 1}"] = np.random.randn(sizes[i], sizes[i + 1]) / np.sqrt(sizes[i])
        network[f"b{i + 1}"] = np.zeros(sizes[i + 1])
    return network


def predict(network, x):
    z = sigmoid(np.dot(x, network["W1"]) + network["b1"])
    z = sigmoid(np.dot(z, network["W2"]) + network["b2"])
    return softmax(np.dot(z, network["W3"]) + network["b3"])


_, (x, t) = load_mnist(normalize=True, flatten=True, one_hot_label=False)
network = init_network()
accuracy_cnt = 0
for i in range(0, len(x), 50):
    y = predict(network, x[i : i + 50])
    accuracy_cnt += float(np.sum(np.argmax(y, axis=1) == t[i : i + 50]))
single = predict(network, x[0])
print("Accuracy:", accuracy_cnt / len(x))
