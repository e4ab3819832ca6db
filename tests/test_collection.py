"""The tests are found whatever is installed: what is missing costs its own tests alone."""

from pathlib import Path

import pytest

#: Of the test dependencies, what no more than some tests need.
SOME = (
    *("array_api_strict", "dask", "distributed", "hatchling", "jax", "joblib", "matplotlib"),
    *("mpmath", "numdifftools", "nvrtc", "onnx", "onnxruntime", "pandas", "PIL", "playwright"),
    *("polars", "pyarrow", "scipy", "sklearn", "starlette", "sybil", "torch"),
    *("uvicorn",),
)

COLLECT = f"""
import sys
sys.modules.update(dict.fromkeys({SOME}))
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def test_what_is_missing_costs_its_own_tests_alone(python):
    root = Path(__file__).parent.parent
    options = ("-q", "--collect-only", "-p", "no:cacheprovider", "--rootdir", root)
    done = python("-c", COLLECT, *options, root / "tests", root / "docs", path=[root])
    assert done.code == pytest.ExitCode.OK, done.out[-2000:]
    found = {line.split("::")[0].rpartition("/")[2] for line in done.out.splitlines()}
    assert {"test_networks.py", "test_differentiation.py", "test_cupy_backend.py"} <= found
    assert "test_own_data.py" not in found
