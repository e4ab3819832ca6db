"""The book's training loop: updates by hand, every loss, accuracy once an epoch, a figure."""

import os
import sys

sys.path.append(os.pardir)
import matplotlib.pyplot as plt
import numpy as np
from dataset.mnist import load_mnist
from two_layer_net import TwoLayerNet

(x_train, t_train), (x_test, t_test) = load_mnist(normalize=True, one_hot_label=True)

np.random.seed(0)
network = TwoLayerNet(input_size=784, hidden_size=50, output_size=10)

iters_num = 60
train_size = x_train.shape[0]
batch_size = 100
learning_rate = 0.5
iter_per_epoch = 30

train_loss_list = []
test_acc_list = []

for i in range(iters_num):
    batch_mask = np.random.choice(train_size, batch_size)
    x_batch = x_train[batch_mask]
    t_batch = t_train[batch_mask]

    grad = network.gradient(x_batch, t_batch)
    for key in ("W1", "b1", "W2", "b2"):
        network.params[key] -= learning_rate * grad[key]

    train_loss_list.append(network.loss(x_batch, t_batch))
    if i % iter_per_epoch == 0:
        test_acc_list.append(network.accuracy(x_test, t_test))
        print("test acc | " + str(test_acc_list[-1]))

prediction = np.argmax(network.predict(x_test[:100]), axis=1)
agreement = np.mean(prediction == np.argmax(t_test[:100], axis=1))

plt.plot(np.arange(len(train_loss_list)), train_loss_list)
plt.xlabel("iteration")
plt.ylabel("loss")
plt.show()
