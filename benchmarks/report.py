"""From ``benchmarks/results`` to pictures and the README's tables: ``python -m benchmarks.report``.

``nox -s bench bench-peers -- --record`` measures, writes the results and then runs this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fastnn.bench.book_net import BOOK
from fastnn.bench.report import format_seconds

from .recording import format_number
from .store import FOLDER, Results, load

README = Path(__file__).parent.parent / "README.md"

#: Between these lines the README is written by this module.
BEGIN, END = (
    "<!-- benchmarks: written by python -m benchmarks.report -->",
    "<!-- benchmarks end -->",
)

COLOURS = {
    "fastnn numba": "tab:blue",
    "fastnn numpy": "tab:cyan",
    "fastnn cupy": "tab:green",
    BOOK: "tab:gray",
}


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
        if found["name"].startswith(start)
    }


def curve(
    results: Results, name: str, x: str = "x", **fixed: Any
) -> dict[str, list[tuple[float, float]]]:
    """The lines of a curve, one a contestant: points (x, median), the best of threads.

    Only of the points whose other entries have these values.
    """
    points = next(c["points"] for c in results["curves"] if c["name"] == name)
    lines: dict[str, dict[float, float]] = {}
    for p in points:
        if all(p[key] == value for key, value in fixed.items()):
            line = lines.setdefault(re.sub(r", \d+ threads?$", "", p["contestant"]), {})
            line[p[x]] = min(p["median"], line.get(p[x], p["median"]))
    return {name: sorted(line.items()) for name, line in lines.items()}


# -- pictures --------------------------------------------------------------------------------------


def draw(kind: str, ours: Results, peers: Results | None, folder: Path = FOLDER) -> None:
    """Three pictures of what was measured."""
    step = "growth of a training step with batch size"
    _draw_lines(
        folder / f"{kind}-steps.png",
        "Training step of 784-50-10, MNIST, float32",
        [
            ("samples in a batch", curve(ours, step)),
            (
                "hidden units, batches of 100",
                curve(ours, step.replace("batch size", "hidden units")),
            ),
        ],
        "time of an iteration",
        ours,
    )
    gradient = "growth of the numerical gradient"
    _draw_lines(
        folder / f"{kind}-numerical-gradient.png",
        "Numerical gradient of all parameters, MNIST, float64",
        [
            ("parameters, batches of 100", curve(ours, gradient, "parameters", batch=100)),
            ("samples in a batch, 784-50-10", curve(ours, gradient, "batch", parameters=39_760)),
        ],
        "time of a gradient",
        ours,
    )
    if peers:
        _draw_peers(folder / f"{kind}-peers.png", peers)


def _draw_lines(path: Path, title: str, panels: list, y_label: str, results: Results) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, (x_label, lines) in zip(
        figure.subplots(1, len(panels), sharey=True), panels, strict=True
    ):
        for name, points in lines.items():
            axes.plot(*zip(*points, strict=True), "o-", label=name, color=COLOURS.get(name))
        axes.set(xscale="log", yscale="log", xlabel=x_label)
        low, high = axes.get_xlim()
        ticks = LogLocator(subs=(1,) if high > 1000 * low else (1, 2, 5))
        axes.xaxis.set(
            major_locator=ticks, major_formatter=EngFormatter(), minor_locator=NullLocator()
        )
        axes.yaxis.set(major_formatter=EngFormatter("s"), minor_locator=NullLocator())
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel(y_label)
    figure.axes[0].legend()
    figure.suptitle(f"{title}: {results['machine']['cpu']}")
    figure.savefig(path, dpi=120)


def _draw_peers(path: Path, peers: Results) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, MaxNLocator

    panels = comparisons(peers, "training step beside the peers, ")
    problems = list(dict.fromkeys(name.rpartition(", ")[0] for name in panels))
    figure = Figure(figsize=(13, 5), layout="constrained")
    for axes, problem in zip(figure.subplots(1, len(problems), sharey=True), problems, strict=True):
        for offset, dtype in ((-0.2, "float32"), (0.2, "float64")):
            timings = panels[f"{problem}, {dtype}"]
            places = [i + offset for i in range(len(timings))]
            colours = [COLOURS.get(name, "tab:orange") for name in timings]
            bars = axes.barh(
                places,
                [t["median"] for t in timings.values()],
                0.38,
                color=colours,
                alpha=1 if dtype == "float32" else 0.5,
            )
            axes.bar_label(
                bars, [f" {format_seconds(t['median'])}" for t in timings.values()], fontsize=8
            )
            axes.set_yticks(range(len(timings)), list(timings))
        axes.set(xlabel="time of an iteration", title=problem)
        axes.xaxis.set(major_formatter=EngFormatter("s"), major_locator=MaxNLocator(5))
        axes.margins(x=0.2, y=0.02)
    figure.axes[0].invert_yaxis()
    figure.suptitle(
        f"Training step, float32 (full colour) and float64 (pale): {peers['machine']['cpu']}"
    )
    figure.savefig(path, dpi=120)


# -- tables ----------------------------------------------------------------------------------------


def markdown(folder: Path = FOLDER) -> str:
    """What stands between the two lines of the README."""
    return "\n".join(part for kind in ("cpu", "gpu") for part in _machine(kind, folder))


def _machine(kind: str, folder: Path) -> Iterable[str]:
    ours, peers = (load(kind, name, folder) for name in ("fastnn", "peers"))
    if ours is None:
        return
    machine = ours["machine"]
    versions = {
        name: number
        for results in (ours, peers)
        if results
        for name, number in results["machine"]["versions"].items()
    }
    if machine.get("nvidia_driver"):
        versions["NVIDIA driver"] = machine["nvidia_driver"]
    devices = "; ".join(dict.fromkeys([machine["cpu"], *machine["devices"].values()]))
    libraries = ", ".join(f"{name} {v}" for name, v in versions.items())
    yield (
        f"Measured {ours['date'][:10]} on {devices}, "
        f"{machine['memory_gb']} GB, {machine['system']}, with {libraries}. "
        "Medians of interleaved rounds in one process; "
        "quartiles, threads and everything else are in `benchmarks/results`.\n"
    )
    if peers:
        problems = comparisons(peers, "training step beside the peers, ")
        yield "**Time of a training step**, batches gathered; of one and two threads, the faster:\n"
        yield from _table("", problems)
        yield f"\n![Training step beside the peers](benchmarks/results/{kind}-peers.png)\n"
        if on_gpu := comparisons(peers, "training step on the GPU beside the peers, "):
            yield "**On the GPU**, 10,000 of them at a time:\n"
            yield from _table("", on_gpu)
            yield ""
        yield (
            "**Time of a numerical gradient** of all 39,760 parameters, "
            "784-50-10, batch 100, MNIST:\n"
        )
        yield from _table(
            "",
            comparisons(
                peers, "numerical gradient beside the peers, 784-50-10, batch 100, mnist, "
            ),
        )
        yield f"\n![Numerical gradient](benchmarks/results/{kind}-numerical-gradient.png)\n"
    yield f"![Training step by batch size and hidden units](benchmarks/results/{kind}-steps.png)\n"
    yield "**What is claimed**, and what was measured:\n"
    yield "| where | claim | measured | |"
    yield "|---|---|---:|---|"
    for results in (ours, peers):
        for found in results["comparisons"] if results else ():
            for claim in found["claims"]:
                measured, verdict = (
                    format_number(claim["measured"]),
                    "met" if claim["met"] else "**not met**",
                )
                if "limit" in claim:
                    verdict += f"; {claim['limited_by']}: {format_number(claim['limit'])}"
                yield f"| {found['name']} | {claim['text']} | {measured} | {verdict} |"


def _table(corner: str, columns: dict[str, dict[str, dict[str, float]]]) -> Iterable[str]:
    yield f"| {corner} | {' | '.join(columns)} |"
    yield f"|---|{'---:|' * len(columns)}"
    for name in dict.fromkeys(name for timings in columns.values() for name in timings):
        cells = (
            format_seconds(timings[name]["median"]) if name in timings else ""
            for timings in columns.values()
        )
        yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Draw every picture and write the tables into the README."""
    for kind in ("cpu", "gpu"):
        ours = load(kind, "fastnn")
        if ours:
            draw(kind, ours, load(kind, "peers"))
    before, begin, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(
            f"{README} does not hold the lines {BEGIN!r} and {END!r} between which the tables go"
        )
    README.write_text(f"{before}{BEGIN}\n{markdown()}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
