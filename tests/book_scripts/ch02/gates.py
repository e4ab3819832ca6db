"""Perceptrons as gates: no module of the book's at all."""

import numpy as np


def perceptron(w, b):
    return lambda x1, x2: int(np.sum(np.array(w) * np.array([x1, x2])) + b > 0)


AND, NAND, OR = (
    perceptron([0.5, 0.5], -0.7),
    perceptron([-0.5, -0.5], 0.7),
    perceptron([0.5, 0.5], -0.2),
)


def XOR(x1, x2):
    return AND(NAND(x1, x2), OR(x1, x2))


if __name__ == "__main__":
    table = np.array([[x1, x2, XOR(x1, x2)] for x1 in (0, 1) for x2 in (0, 1)])
    print(table)
