"""What a run of the benchmarks finds out, as plain data.

It is shown at the end of the run, and written with ``--results FILE``.
"""

from __future__ import annotations

import ctypes
import datetime
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fastnn.bench.machine import machine
from fastnn.bench.report import format_seconds
from fastnn.bench.timing import Contestant, Timing, interleave

#: About how long one entry of a benchmark group is timed, its reference included, in seconds.
BUDGET = 0.15


@dataclass(frozen=True)
class Claim:
    """That one contestant takes at most so much of the time of the fastest of some others.

    Or that it is so many times faster.

    Attributes
    ----------
    ours : str
    against : tuple of str
        The others; empty for everybody else. Those that could not run are passed over.
    at_most : float, optional
        The bound of our time over theirs.
    times_faster : float, optional
        Instead: how many times our time must go into theirs.
    plus : float
        Seconds that ours may take beside that.
    """

    ours: str
    against: tuple[str, ...] = ()
    at_most: float | None = None
    times_faster: float | None = None
    plus: float = 0.0

    def judge(self, timings: Mapping[str, Timing]) -> dict[str, Any]:
        """The ratio as measured, its bound, and whether that is met."""
        rivals = [name for name in self.against or timings if name in timings and name != self.ours]
        best = min(rivals, key=lambda rival: timings[rival].median)

        ratio = (timings[self.ours].median - self.plus) / timings[best].median
        found = ratio if self.times_faster is None else 1 / ratio
        if self.times_faster is None:
            text = f"{self.ours} takes at most {self.at_most:g} of the time of {best}"
            text += f" and {format_seconds(self.plus)}" if self.plus else ""
            return {
                "text": text,
                "measured": found,
                "bound": self.at_most,
                "met": found <= self.at_most,
            }
        return {
            "text": f"{self.ours} is at least {self.times_faster:,g} times as fast as {best}",
            "measured": found,
            "bound": self.times_faster,
            "met": found >= self.times_faster,
        }


@dataclass
class Record:
    """Everything one run measured.

    Attributes
    ----------
    benchmarks : list of dict
        One entry a hot path, backend, dtype and size: its time, that of the reference kernel in the
        same rounds, and the ratio of the fastest rounds of the two, which other work on the machine
        disturbs least.
    comparisons : list of dict
        Contestants timed in turn, and the ratios that are claimed of them with the bounds that they
        must keep.
    curves : list of dict
        How time and memory grow.
    """

    quick: bool
    benchmarks: list[dict[str, Any]] = field(default_factory=list)
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)

    def benchmark(
        self,
        fixture: Any,
        call: Callable[..., Any],
        reference: Callable[[], Any],
        *,
        fresh: Callable[[], tuple] = tuple,
        **labels: str,
    ) -> None:
        """Time ``call(*fresh())`` with pytest-benchmark, and before each round the reference once.

        Parameters
        ----------
        fixture : pytest_benchmark.fixture.BenchmarkFixture
        call : callable
            Must have finished its work, on a device too, when it returns.
        reference : callable
        fresh : callable
            Makes the arguments of a round, outside the timing.
        labels
            ``group``, ``backend``, ``dtype``, ``size``.
        """
        fixture.group = labels["group"]
        samples = []

        def setup() -> tuple[tuple, dict]:
            arguments = fresh()
            started = time.perf_counter()
            reference()
            samples.append(time.perf_counter() - started)
            return arguments, {}

        started = time.perf_counter()
        call(*setup()[0])
        call(*setup()[0])
        rounds = min(max(3, int(2 * BUDGET / (time.perf_counter() - started))), 1000)
        samples.clear()
        fixture.pedantic(call, setup=setup, rounds=rounds)
        if self.quick:
            return
        found = fixture.stats.stats
        timing, beside = Timing(found.median, found.q1, found.q3, found.rounds), Timing.of(samples)
        ratio = found.min / min(samples)
        fixture.extra_info |= {"reference": beside.median, "ratio": ratio}
        entry = (
            {"id": fixture.fullname}
            | labels
            | asdict(timing)
            | {"reference": asdict(beside), "ratio": ratio}
        )
        self.benchmarks.append(entry)

    def compare(
        self,
        name: str,
        contestants: Mapping[str, Contestant | str],
        claims: Iterable[Claim] = (),
        *,
        unit: str,
        seconds: float = 5.0,
        fewest: int = 5,
        most: int = 50,
    ) -> dict[str, Timing]:
        """Time contestants in turn, and keep the ratios that are claimed of them with their bounds.

        Parameters
        ----------
        name : str
        contestants : mapping
            A text in place of a contestant is the reason why it does not take part.
        claims : iterable of Claim
        unit : str
            What the seconds are for: ``"iteration"``, ``"gradient"``.
        seconds, fewest, most
            As for :func:`fastnn.bench.timing.interleave`.
        """
        running = {
            name: contestant for name, contestant in contestants.items() if callable(contestant)
        }
        timings = interleave(
            running, seconds=seconds, fewest=fewest, most=1 if self.quick else most
        )
        self.comparisons.append(
            {
                "name": name,
                "unit": unit,
                "timings": {contestant: asdict(timing) for contestant, timing in timings.items()},
                "skipped": {
                    name: reason for name, reason in contestants.items() if isinstance(reason, str)
                },
                "claims": [claim.judge(timings) for claim in claims],
            }
        )
        return timings

    def statement(self, name: str, text: str, measured: float, bound: float) -> None:
        """Keep a claim that is not about two contestants: that something is at most `bound`."""
        claim = {"text": text, "measured": measured, "bound": bound, "met": measured <= bound}
        self.comparisons.append({"name": name, "timings": {}, "skipped": {}, "claims": [claim]})

    def curve(
        self, name: str, x_label: str, y_label: str, points: Iterable[Mapping[str, Any]]
    ) -> None:
        """Keep how something grows.

        Each point has ``contestant``, ``x``, and a time or whatever else was measured.
        """
        self.curves.append(
            {"name": name, "x_label": x_label, "y_label": y_label, "points": list(points)}
        )

    def content(self, versions: Mapping[str, str]) -> dict[str, Any]:
        """All of it as plain data, with the machine, the versions, the commit and the date."""
        here = machine()
        here["versions"] |= versions
        content = {
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "commit": _commit(),
            "machine": here,
            "benchmarks": self.benchmarks,
            "comparisons": self.comparisons,
            "curves": self.curves,
        }
        return _rounded(content)

    def lines(self) -> list[str]:
        """The comparisons and curves for a person to read."""
        lines = []
        for comparison in self.comparisons:
            unit = f", time per {comparison['unit']}" if "unit" in comparison else ""
            lines += ["", comparison["name"] + unit]
            for name, t in comparison["timings"].items():
                spread = f"[{format_seconds(t['low'])}, {format_seconds(t['high'])}]"
                lines.append(
                    f"    {name:<34} {format_seconds(t['median']):>9} "
                    f"{spread:<22} {t['rounds']} rounds"
                )
            lines += [
                f"    {name:<34} skipped: {reason}"
                for name, reason in comparison["skipped"].items()
            ]
            for claim in comparison["claims"]:
                verdict = "met" if claim["met"] else "NOT MET"
                measured = format_number(claim["measured"])
                lines.append(f"  {verdict}: {claim['text']}; measured {measured}")
        for curve in self.curves:
            lines += ["", f"{curve['name']}: {curve['y_label']} by {curve['x_label']}"]
            for p in curve["points"]:
                value = format_seconds(p["median"]) if "median" in p else f"{p['ratio']:.2f}"
                memory = f"   {p['memory_mb']:,.1f} MB" if p.get("memory_mb") is not None else ""
                lines.append(f"    {p['contestant']:<34} {p['x']:>12,} {value:>9}{memory}")
        return lines


def extra_memory(call: Callable[[], Any]) -> float | None:
    """By how many megabytes the memory in use grew at its peak; None where there is no Linux."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    # What was freed before goes back to the system, so that it is not reused unseen.
    ctypes.CDLL(None).malloc_trim(0)
    reset.write_text("5")  # sets the peak to what is in use now
    before = _kilobytes(status, "VmRSS")
    call()
    return (_kilobytes(status, "VmHWM") - before) / 1024


def _kilobytes(status: Path, entry: str) -> int:
    return int(
        next(line.split()[1] for line in status.read_text().splitlines() if line.startswith(entry))
    )


def format_number(value: float) -> str:
    """Three significant digits, or more for an integral part that has more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


#: In a checkout, what a record changes itself: the results, and the pages that show them.
_RESULTS = ":(exclude,top)benchmarks/results", ":(exclude,top,glob)README*.md"


def _commit() -> str | None:
    """The commit of the checkout, with a plus if something in it has been changed but results."""
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", ":/", *_RESULTS],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed else "")


def _rounded(value: Any) -> Any:
    """With floats of four significant digits: more would be noise."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return value
