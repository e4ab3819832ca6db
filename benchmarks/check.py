"""The regression guard: ``python -m benchmarks.check``, which is ``nox -s bench-check``.

It times the operations and paths of the book's size again and compares their ratios to plain NumPy,
timed in the same rounds, with those in ``benchmarks/results``. A ratio says nothing about how fast
or how busy a machine is, but it does depend on its kind (vector width, cores), so only a gross
change counts: `TOLERANCE` times the committed ratio, three times in a row.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from .store import Results, load

FOLDER = Path(__file__).parent

#: The factor beyond which a ratio counts as worse: wide enough for another processor, narrow enough
#: for a kernel that left its fast path.
TOLERANCE = 2.0

ATTEMPTS = 3


def ratios(results: Results) -> dict[str, float]:
    """The ratio of each benchmark in the results to its reference kernel, by test."""
    return {entry["id"]: entry["ratio"] for entry in results["benchmarks"]}


def regressions(
    committed: dict[str, float], measured: dict[str, float], tolerance: float = TOLERANCE
) -> dict[str, float]:
    """By how many times each ratio has become worse, where it is more than `tolerance`."""
    changes = {
        name: ratio / committed[name] for name, ratio in measured.items() if name in committed
    }
    return {name: change for name, change in changes.items() if change > tolerance}


def measure(*selection: str) -> dict[str, float]:
    """Run the tests that these arguments of pytest select in a process, and return their ratios."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.json"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--results={path}",
        ]
        subprocess.run([*command, *selection], check=True, cwd=FOLDER)
        return ratios(json.loads(path.read_text(encoding="utf-8")))


def main() -> int:
    """Compare, and return 1 if anything has become worse."""
    committed: dict[str, float] = {}
    for kind in ("gpu", "cpu"):  # where both have an entry: the CPU's
        committed |= ratios(load(kind, "fastnn") or {"benchmarks": []})
    if not committed:
        raise SystemExit(
            "there is nothing to compare with: "
            "nox -s bench -- --record writes it to benchmarks/results"
        )
    selection = ["test_operations.py", "test_network.py", "-k", "not wide and not tiny"]
    for attempt in range(1, ATTEMPTS + 1):
        measured = measure(*selection)
        worse = regressions(committed, measured)
        print(
            f"attempt {attempt}: {len(worse)} of {len(measured)} ratios are more than "
            f"{TOLERANCE:g} times the committed ones"
        )
        for name, change in sorted(worse.items(), key=lambda item: -item[1]):
            print(f"  {change:6.2f} times: {name}")
        if not worse:
            return 0
        selection = list(worse)
    return 1


if __name__ == "__main__":
    sys.exit(main())
