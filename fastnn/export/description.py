"""What a file of another format says of a network beside its parameters."""

from __future__ import annotations

import json
from typing import Any

from .. import __version__
from ..base_network import Network
from ..files.model import description

#: Entries of the description that are JSON in the text that :func:`texts` makes of them.
_STRUCTURED = ("sizes", "label_names", "preprocessing")


def texts(network: Network) -> dict[str, str]:
    """What makes a network of its parameters, each entry as a text.

    Raises
    ------
    DtypeError, InputError
        If the network is not, or not only, what a file can say.
    """
    found = {"fastnn_version": __version__, **description(network)}
    return {
        name: json.dumps(value) if name in _STRUCTURED else str(value)
        for name, value in found.items()
    }


def from_texts(given: dict[str, str]) -> dict[str, Any]:
    """What :func:`texts` was made of; ValueError for a text that is no JSON."""
    return {
        name: json.loads(value) if name in _STRUCTURED else value for name, value in given.items()
    }
