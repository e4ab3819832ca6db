"""A network in the formats of others: ONNX, ``.npz`` and PyTorch's ``state_dict``.

``onnx_models`` writes the network with the scaling of its samples as an ONNX model, ``npz`` writes
and reads arrays that NumPy alone can read, and ``torch_modules`` goes both ways between a network
and a ``Sequential`` of PyTorch's. :func:`to_file` chooses by the suffix of a file. What these need,
``pip install 'fastnn[export]'`` brings; PyTorch comes with ``fastnn[torch]``.
"""

from .formats import SUFFIXES, Exported, check_suffix, to_file
from .npz import load_npz
from .onnx_models import to_onnx
from .torch_modules import from_state_dict, from_torch, state_dict, to_torch

__all__ = [
    "SUFFIXES",
    "Exported",
    "check_suffix",
    "from_state_dict",
    "from_torch",
    "load_npz",
    "state_dict",
    "to_file",
    "to_onnx",
    "to_torch",
]
