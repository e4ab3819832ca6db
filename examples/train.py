"""Train the book's network on MNIST, save it, and load it again on another backend.

python examples/train.py
"""

import tempfile
from pathlib import Path

import fastnn

(x_train, t_train), (x_test, t_test) = fastnn.load_mnist()
network = fastnn.TwoLayerNet(784, 50, 10, backend="auto", rng=0)

history = fastnn.train(
    network,
    x_train,
    t_train,
    x_test=x_test,
    t_test=t_test,
    epochs=2,
    optimizer="adam",
    rng=0,  # the same batches every time
)
for iteration, accuracy in zip(history.iterations, history.test_accuracy, strict=True):
    print(f"iteration {iteration:4}: {accuracy:.2%} of the test images are right")

with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "digits.safetensors"
    network.save(file)
    same = fastnn.load(file, backend="numpy")

images = x_test[:10]
print("labels     ", *t_test[:10])
print("predictions", *same.predict(images).argmax(axis=1))
