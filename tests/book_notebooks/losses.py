# %% [markdown]
# Losses by hand, as a reader of chapter 4 notes them down.

# %%
import numpy as np
from common.functions import cross_entropy_error, mean_squared_error, softmax

y = np.array([0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0])
t = np.array([0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
by_hand = 0.5 * np.sum((y - t) ** 2)
results = [by_hand, mean_squared_error(y, t), cross_entropy_error(y, t)]
results

# %%
from dataset.mnist import load_mnist

(x_train, t_train), (x_test, t_test) = load_mnist(normalize=True, one_hot_label=True)
np.random.seed(0)
mask = np.random.choice(x_train.shape[0], 10)
x_batch, t_batch = x_train[mask], t_train[mask]
W = 0.01 * np.random.randn(784, 10)
y = softmax(x_batch @ W)
results += [cross_entropy_error(y, t_batch), cross_entropy_error(y, t_batch.argmax(axis=1))]
results += list(y.ravel())
