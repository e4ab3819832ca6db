"""The benchmarks run, cover the contract, and the README shows what they measured."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import check, report
from fastnn import bench
from fastnn.backends.base import OPERATIONS

ROOT = Path(__file__).parent.parent

#: The paths through a network that are timed besides the operations, by their tests.
PATHS = (
    "test_gradient",
    "test_training_step",
    "test_epoch",
    "test_numerical_gradient_full",
    "test_numerical_gradient_incremental",
    "test_numerical_gradient_generic",
)


@pytest.fixture(scope="module")
def outcomes():
    """Every benchmark run once in a fresh process, without timing, on small data: test → outcome."""
    command = [sys.executable, "-m", "pytest", "benchmarks", "--benchmark-disable", "-v", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    found = dict(re.findall(r"^(\S+::\S+) (PASSED|FAILED|ERROR|SKIPPED)", done.stdout, re.MULTILINE))
    assert found, done.stdout + done.stderr
    assert done.returncode == 0, done.stdout[-5000:]
    return found


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
class TestCoverage:
    @pytest.mark.parametrize("operation", OPERATIONS)
    @pytest.mark.parametrize("size", ["tiny", "book", "wide"])
    def test_operation(self, outcomes, operation, size, backend, dtype):
        names = [name for name in outcomes if "::test_operation[" in name]
        parts = {backend, dtype, operation, size}
        assert any(set(re.split(r"[\[\]-]", name)) >= parts and outcomes[name] == "PASSED" for name in names)

    @pytest.mark.parametrize("path", PATHS)
    def test_path(self, outcomes, path, backend, dtype):
        assert outcomes[f"benchmarks/test_network.py::{path}[{backend}-{dtype}]"] == "PASSED"


def test_readme_shows_the_committed_results():
    _, _, rest = report.README.read_text(encoding="utf-8").partition(report.BEGIN)
    shown, end, _ = rest.partition(report.END)
    assert end
    assert shown.strip() == report.markdown().strip(), "run python -m benchmarks.report"
    for picture in re.findall(r"\]\((benchmarks/results/\S+)\)", shown):
        assert (ROOT / picture).stat().st_size > 1000


COMMITTED_RATIOS = {"a": 1.0, "b": 0.5, "gone": 1.0}


class TestCheck:
    def test_finds_what_became_worse(self):
        assert check.regressions(COMMITTED_RATIOS, {"a": 1.9, "b": 1.5, "new": 9.0}, tolerance=2) == {"b": 3.0}

    def test_better_is_no_regression(self):
        assert check.regressions(COMMITTED_RATIOS, {"a": 0.1, "b": 0.5}) == {}


class TestBench:
    def test_interleave_takes_turns(self):
        turns = []

        def contestant(name, seconds):
            def sample():
                turns.append(name)
                return seconds

            return sample

        timings = bench.interleave({"a": contestant("a", 1.0), "b": contestant("b", 3.0)}, seconds=0, fewest=4, most=4)
        assert turns == ["a", "b"] * (len(turns) // 2)
        assert timings["a"] == bench.Timing(1.0, 1.0, 1.0, timings["a"].rounds)
        assert timings["b"].median == 3.0

    def test_summary_of_samples(self):
        assert bench.Timing.of([5.0, 1.0, 2.0, 3.0, 4.0]) == bench.Timing(3.0, 2.0, 4.0, 5)
        assert bench.Timing.of([2.0]) == bench.Timing(2.0, 2.0, 2.0, 1)

    @pytest.mark.parametrize(
        ("seconds", "shown"),
        [
            (2e-7, "0.200 µs"),
            (9.994e-4, "999 µs"),
            (9.999e-4, "1.00 ms"),
            (0.0123, "12.3 ms"),
            (1.0, "1.00 s"),
            (12345.6, "12,346 s"),
        ],
    )
    def test_format_seconds(self, seconds, shown):
        assert bench.format_seconds(seconds) == shown
