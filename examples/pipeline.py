"""An estimator in a pipeline and a grid search of scikit-learn's: pip install '.[sklearn]'.

python examples/pipeline.py
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastnn import TwoLayerClassifier

x, t = load_digits(return_X_y=True)
names = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
x_train, x_test, t_train, t_test = train_test_split(
    x.astype(np.float32), names[t], random_state=0, stratify=t
)

pipeline = make_pipeline(
    StandardScaler(),
    TwoLayerClassifier((50,), class_weight="balanced", early_stopping=True, random_state=0),
)
search = GridSearchCV(
    pipeline,
    {"twolayerclassifier__alpha": [1e-4, 1e-2], "twolayerclassifier__activation": ["relu", "tanh"]},
    cv=3,
)
search.fit(x_train, t_train)
print("best of the grid:", search.best_params_)
print(f"accuracy of the test samples: {search.score(x_test, t_test):.3f}")
print("the first five:", *search.predict(x_test[:5]))
