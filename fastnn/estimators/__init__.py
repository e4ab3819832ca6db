"""scikit-learn's network, sooner: :class:`TwoLayerClassifier` and :class:`TwoLayerRegressor`.

They are estimators of scikit-learn's, with the parameters, the attributes and the random draws of
its ``MLPClassifier`` and ``MLPRegressor``, so that the same ``random_state`` gives the same model.
``pip install 'fastnn[sklearn]'`` brings what they need.
"""

from ..errors import ExtraNotInstalledError

try:
    import sklearn as _  # noqa: F401
except ImportError as error:
    raise ExtraNotInstalledError(
        "TwoLayerClassifier and TwoLayerRegressor are estimators of scikit-learn, which is not "
        "installed: pip install 'fastnn[sklearn]'"
    ) from error

from .classifier import TwoLayerClassifier
from .regressor import TwoLayerRegressor

__all__ = ["TwoLayerClassifier", "TwoLayerRegressor"]
