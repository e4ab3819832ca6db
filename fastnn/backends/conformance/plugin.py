"""The options of these tests: for ``--pyargs``, pytest reads options only from a plugin.

As every pytest where fastnn is installed loads this, it imports nothing, and adds no option unless
the command line names these tests: projects may well have a ``--backend`` of their own.
"""

from __future__ import annotations

import re
from typing import Any

_TESTS = re.compile(r"\bbackends\W+conformance\b")


def pytest_addoption(parser: Any, pluginmanager: Any) -> None:
    arguments = pluginmanager.get_plugin("pytestconfig").invocation_params.args
    if not any(_TESTS.search(str(argument)) for argument in arguments):
        return
    backends: dict[str, Any] = {
        "action": "append",
        "metavar": "NAME",
        "dest": "fastnn_backends",
        "help": "a registered backend to test, such as numpy or torch:cuda; "
        "may be given several times",
    }
    try:
        parser.addoption("--fastnn-backend", "--backend", **backends)
    except ValueError:  # another plugin has --backend, too
        parser.addoption("--fastnn-backend", **backends)
    parser.addoption(
        "--examples",
        type=int,
        default=40,
        metavar="N",
        dest="fastnn_examples",
        help="how many examples of each property are drawn",
    )
