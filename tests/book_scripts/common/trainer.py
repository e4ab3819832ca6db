"""The reader's own trainer."""

import numpy as np
from common.optimizer import *


class Trainer:
    def __init__(
        self,
        network,
        x_train,
        t_train,
        x_test,
        t_test,
        epochs=20,
        mini_batch_size=100,
        optimizer="SGD",
        optimizer_param={"lr": 0.01},
        verbose=True,
    ):
        kinds = {
            "sgd": SGD,
            "momentum": Momentum,
            "nesterov": Nesterov,
            "adagrad": AdaGrad,
            "rmsprop": RMSprop,
            "adam": Adam,
        }
        self.optimizer = kinds[optimizer.lower()](**optimizer_param)
        self.network, self.verbose = network, verbose
        self.data = x_train, t_train, x_test, t_test
        self.batch_size = mini_batch_size
        self.steps = max(len(x_train) // mini_batch_size, 1)
        self.epochs = epochs
        self.train_loss_list, self.train_acc_list, self.test_acc_list = [], [], []

    def train(self):
        x_train, t_train, x_test, t_test = self.data
        for epoch in range(self.epochs):
            for _ in range(self.steps):
                rows = np.random.choice(len(x_train), self.batch_size)
                x, t = x_train[rows], t_train[rows]
                self.optimizer.update(self.network.params, self.network.gradient(x, t))
                self.train_loss_list.append(self.network.loss(x, t))
            self.train_acc_list.append(self.network.accuracy(x_train, t_train))
            self.test_acc_list.append(self.network.accuracy(x_test, t_test))
            if self.verbose:
                print("epoch", epoch, "test accuracy", self.test_acc_list[-1])
