import os
import sys

sys.path.append(os.path.join(os.path.dirname(__file__), ".."))
import numpy as np
from common.multi_layer_net import MultiLayerNet
from common.trainer import Trainer
from common.util import shuffle_dataset
from dataset.mnist import load_mnist

(x_train, t_train), (x_test, t_test) = load_mnist(normalize=True)
x_train, t_train = x_train[:250], t_train[:250]
np.random.seed(12)
validation_num = int(len(x_train) * 0.20)
x_train, t_train = shuffle_dataset(x_train, t_train)
x_val, t_val = x_train[:validation_num], t_train[:validation_num]
x_train, t_train = x_train[validation_num:], t_train[validation_num:]
results_val = {}
for _ in range(2):
    weight_decay, lr = 10 ** np.random.uniform(-8, -4), 10 ** np.random.uniform(-6, -2)
    network = MultiLayerNet(784, [10, 10], 10, weight_decay_lambda=weight_decay)
    trainer = Trainer(
        network, x_train, t_train, x_val, t_val, 2, 100, "sgd", {"lr": lr}, verbose=False
    )
    trainer.train()
    results_val[str(len(results_val))] = np.array(trainer.train_loss_list)
