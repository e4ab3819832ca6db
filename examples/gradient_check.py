"""Compare backpropagation with the numerical gradient, and find a derivative that is wrong.

python examples/gradient_check.py
"""

import fastnn
from fastnn.functions import ACTIVATIONS

(x_train, t_train), _ = fastnn.load_mnist()
x, t = x_train[:100], t_train[:100]

network = fastnn.TwoLayerNet(784, 50, 10, rng=0)
report = fastnn.gradient_check(network, x, t)
print(report)
assert report.passed

# Every number of the report can be had, too.
largest = max(check.maximum_difference for check in report.parameters.values())
print(f"\nlargest difference: {largest:.1e}")

# A sigmoid with a derivative of 0.99·z·(1 − z), as a slip of the pen would have it.
sigmoid = ACTIVATIONS["sigmoid"]
ACTIVATIONS["slip"] = sigmoid._replace(derivative=lambda xp, z: 0.99 * z * (1 - z))
wrong = fastnn.TwoLayerNet(784, 50, 10, activation="slip", rng=0)
report = fastnn.gradient_check(wrong, x, t)
print(f"\n{report}")
assert not report.passed
