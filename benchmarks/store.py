"""The files of results, ``benchmarks/results/<device>-<date>.json``, with a part for each session.

A session, ``fastnn`` or ``peers``, replaces its own part of the day's file and leaves the other's.
What was claimed in earlier runs of the same commit on that day stays, so that claims are judged by
several runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"

#: What one session measured, as :meth:`benchmarks.recording.Record.content` has it.
Results = dict[str, Any]


def kind(results: Results) -> str:
    """``"gpu"`` if there was one, else ``"cpu"``."""
    return "gpu" if "cupy" in results["machine"]["devices"] else "cpu"


def path(results: Results, folder: Path = FOLDER) -> Path:
    """The file for the device and day of these results."""
    machine = results["machine"]
    device = machine["devices"].get("cupy", machine["cpu"])
    return (
        folder
        / f"{re.sub(r'[^a-z0-9]+', '-', device.lower()).strip('-')}-{results['date'][:10]}.json"
    )


def save(results: Results, session: str, folder: Path = FOLDER) -> None:
    """Write what a session measured to the file of its device and day."""
    file = path(results, folder)
    parts = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    before = parts.get(session)
    if before and _are_of_one_kind(before, results):
        claims = {"date": before["date"], "claims": judged(before)}
        results = results | {"earlier": [*before.get("earlier", ()), claims]}
    parts[session] = results
    texts = [f"{json.dumps(name)}: {text(part)}" for name, part in sorted(parts.items())]
    file.write_text("{\n" + ",\n".join(texts) + "\n}\n", encoding="utf-8")


def _are_of_one_kind(before: Results, now: Results) -> bool:
    """Whether runs are of one commit and of the same benchmarks, not of some that -k selects."""
    names = ([name for name, _, _ in judged(run)] for run in (before, now))
    return bool(before["commit"] == now["commit"] and next(names) == next(names))


def judged(results: Results) -> list[tuple[str, float, bool]]:
    """Of each claim what it is about, what was measured, and whether it was met."""
    return [
        (comparison["name"], claim["measured"], claim["met"])
        for comparison in results["comparisons"]
        for claim in comparison["claims"]
    ]


def load(of_kind: str, session: str, folder: Path = FOLDER) -> Results | None:
    """The newest results of one kind of machine and one session."""
    return max(_all(of_kind, session, folder), key=lambda results: results["date"], default=None)


def _all(of_kind: str, session: str, folder: Path) -> Iterator[Results]:
    for file in folder.glob("*.json"):
        results = json.loads(file.read_text(encoding="utf-8")).get(session)
        if results and kind(results) == of_kind:
            yield results


def text(results: Mapping[str, Any]) -> str:
    """Results as JSON, a line for each entry of a list: two files can be compared line by line."""
    parts = []
    for key, value in results.items():
        entries = (
            [json.dumps(entry, ensure_ascii=False) for entry in value]
            if isinstance(value, list)
            else []
        )
        shown = (
            "[\n  " + ",\n  ".join(entries) + "\n ]"
            if entries
            else json.dumps(value, ensure_ascii=False)
        )
        parts.append(f" {json.dumps(key)}: {shown}")
    return "{\n" + ",\n".join(parts) + "\n}"


def best_threads(timings: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Of each contestant with several numbers of threads, the fastest, named without them."""
    best: dict[str, dict[str, float]] = {}
    for label, timing in timings.items():
        name = re.sub(r", \d+ threads?$", "", label)
        if name not in best or timing["median"] < best[name]["median"]:
            best[name] = timing
    return best


def comparisons(results: Results, start: str) -> dict[str, dict[str, dict[str, float]]]:
    """Those whose names start so: the rest → contestant → its time with the best of its threads."""
    return {
        found["name"].removeprefix(start): best_threads(found["timings"])
        for found in results["comparisons"]
        if found["name"].startswith(start) and found["timings"]
    }
