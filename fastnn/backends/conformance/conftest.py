"""The backends that the command line names, and both dtypes."""

import numpy as np
import pytest

try:
    from hypothesis import settings
except ImportError:
    pytest.exit(
        "the tests of a backend need Hypothesis: pip install 'fastnn[conformance]'",
        pytest.ExitCode.USAGE_ERROR,
    )

pytest.register_assert_rewrite("fastnn.backends.conformance.drawn")

from ...errors import DeviceError, FastnnError  # noqa: E402
from .. import available_backends, get_backend  # noqa: E402


def pytest_configure(config):
    # What else the author has set, such as another database, stays. The first call of a kernel may
    # compile.
    examples = config.getoption("fastnn_examples", 40)
    settings.register_profile("fastnn", settings(deadline=None, max_examples=examples))
    settings.load_profile("fastnn")
    for name in named(config):
        try:
            get_backend(name)
        except FastnnError as error:  # once, not for each test
            pytest.exit(f"--backend {name}: {error}", pytest.ExitCode.USAGE_ERROR)


def pytest_generate_tests(metafunc):
    if "backend" in metafunc.fixturenames:
        names = named(metafunc.config)
        if not names:
            names = [name for name, found in available_backends().items() if found.available]
        metafunc.parametrize("backend", names, indirect=True, scope="session")


def named(config):
    """The backends that the command line names."""
    return config.getoption("fastnn_backends", None) or []


@pytest.fixture(scope="session")
def backend(request):
    return get_backend(request.param)


@pytest.fixture(scope="session", params=["float32", "float64"])
def dtype(request, backend):
    dtype = np.dtype(request.param)
    try:
        backend.check_dtype(dtype)
    except DeviceError as error:
        pytest.skip(str(error))
    return dtype
