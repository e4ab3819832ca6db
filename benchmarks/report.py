"""From ``benchmarks/results`` to its pictures and tables: ``python -m benchmarks.report``.

``nox -s bench bench-peers -- --record`` measures, writes the results and then runs this. Pictures
and tables stay in that folder; of the README it writes what :mod:`benchmarks.front_page` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fastnn.bench.book_net import BOOK
from fastnn.bench.report import format_seconds

from . import front_page
from .reasons import reasons
from .recording import format_number
from .store import FOLDER, Results, comparisons, judged, load

#: The page with everything that was measured.
PAGE = FOLDER / "README.md"

#: Between these lines a page is written by this module.
BEGIN, END = (
    "<!-- benchmarks: written by python -m benchmarks.report -->",
    "<!-- benchmarks end -->",
)

#: How the names of the training steps beside the peers begin.
BESIDE_PEERS = {
    "cpu": "training step beside the peers, ",
    "gpu": "training step on the GPU beside the peers, ",
}

COLOURS = {
    "fastnn numba": "tab:blue",
    "fastnn numpy": "tab:cyan",
    "fastnn cupy": "tab:green",
    BOOK: "tab:gray",
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
    """Three pictures of what was measured, or as many as there is something for."""
    if peers:
        _draw_peers(folder / f"{kind}-peers.png", peers, kind)
    if not ours["curves"]:
        return
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


def _draw_peers(path: Path, peers: Results, kind: str) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, MaxNLocator

    panels = comparisons(peers, BESIDE_PEERS[kind])
    problems = list(dict.fromkeys(name.rpartition(", ")[0] for name in panels))
    figure = Figure(figsize=(13, 5), layout="constrained")
    columns = figure.subplots(1, len(problems), sharey=True, squeeze=False)[0]
    for axes, problem in zip(columns, problems, strict=True):
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
        if kind == "gpu":
            axes.set(xlabel="time of an iteration, logarithmic", title=problem, xscale="log")
        else:
            axes.set(xlabel="time of an iteration", title=problem)
            axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(EngFormatter("s"))
        axes.margins(x=0.2, y=0.02)
    figure.axes[0].invert_yaxis()
    figure.suptitle(
        "Training step, float32 (full colour) and float64 (pale): "
        f"{peers['machine']['devices'].get('cupy', peers['machine']['cpu'])}"
    )
    figure.savefig(path, dpi=120)


# -- tables ----------------------------------------------------------------------------------------


def markdown(folder: Path = FOLDER) -> str:
    """What stands between the two lines of the page of results."""
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
        "quartiles, threads and everything else are in the files beside this one.\n"
    )
    if on_gpu := comparisons(ours, "training on the GPU, "):
        yield "**Training on the GPU**, 10,000 iterations at a time, an iteration:\n"
        yield from _table("", on_gpu)
        yield ""
    if large := comparisons(ours, "training step on the GPU, "):
        yield "**A large network on the GPU**, an iteration:\n"
        yield from _table("", large)
        yield ""
    if peers:
        titles = {
            "cpu": "**Time of a training step**, batches gathered; of one and two threads, "
            "the faster:\n",
            "gpu": "**Time of a training step on the GPU**, 10,000 at a time:\n",
        }
        for on, title in titles.items():
            if problems := comparisons(peers, BESIDE_PEERS[on]):
                yield title
                yield from _table("", problems)
                if on == kind:
                    yield f"\n![Training step beside the peers]({kind}-peers.png)"
                yield ""
        if gradients := comparisons(
            peers, "numerical gradient beside the peers, 784-50-10, batch 100, mnist, "
        ):
            yield (
                "**Time of a numerical gradient** of all 39,760 parameters, "
                "784-50-10, batch 100, MNIST:\n"
            )
            yield from _table("", gradients)
            yield f"\n![Numerical gradient]({kind}-numerical-gradient.png)\n"
    if ours["curves"]:
        yield f"![Training step by batch size and hidden units]({kind}-steps.png)\n"
    yield "**What is claimed**, and what was measured, in each run from the first on:\n"
    yield "| where | claim | measured | |"
    yield "|---|---|---:|---|"
    for results in (ours, peers):
        yield from _claims(results) if results else ()


def _claims(results: Results) -> Iterable[str]:
    """The rows of what is claimed, with all runs of this commit."""
    runs = [run["claims"] for run in results.get("earlier", ())] + [judged(results)]
    texts = [claim["text"] for found in results["comparisons"] for claim in found["claims"]]
    for text, *of_runs in zip(texts, *runs, strict=True):
        (name,) = {name for name, _, _ in of_runs}
        measured = " / ".join(format_number(number) for _, number, _ in of_runs)
        met = sum(met for _, _, met in of_runs)
        verdict = "met" if met == len(runs) else f"**met in {met} of {len(runs)}**"
        if met == 0:
            verdict = "**not met**"
        if met < len(runs):
            verdict += "".join(f": {reason}" for reason in reasons(name, text))
        yield f"| {name} | {text} | {measured} | {verdict} |"


def _table(corner: str, columns: dict[str, dict[str, dict[str, float]]]) -> Iterable[str]:
    yield f"| {corner} | {' | '.join(columns)} |"
    yield f"|---|{'---:|' * len(columns)}"
    for name in dict.fromkeys(name for timings in columns.values() for name in timings):
        cells = (
            format_seconds(timings[name]["median"]) if name in timings else ""
            for timings in columns.values()
        )
        yield f"| {name} | {' | '.join(cells)} |"


def between(text: str) -> str:
    """What stands between the two lines in the text of a page."""
    return _parts(text)[1].strip()


def _parts(text: str) -> tuple[str, str, str]:
    before, begin, rest = text.partition(BEGIN)
    shown, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(
            f"the page lacks the lines {BEGIN!r} and {END!r} that the tables go between"
        )
    return before, shown, after


def _write(page: Path, shown: str) -> None:
    before, _, after = _parts(page.read_text(encoding="utf-8"))
    page.write_text(f"{before}{BEGIN}\n{shown}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Draw every picture and write the tables anew."""
    for kind in ("cpu", "gpu"):
        ours = load(kind, "fastnn")
        if ours:
            draw(kind, ours, load(kind, "peers"))
    _write(PAGE, markdown())
    measured = front_page.Measured.newest()
    front_page.PICTURE.write_text(front_page.svg(measured), encoding="utf-8")
    for language, page in front_page.PAGES.items():
        _write(page, front_page.block(language, measured))


if __name__ == "__main__":
    main()
