"""The picture and the three rows of the README, in each of its languages, from the newest results.

``python -m benchmarks.report`` writes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from fastnn.bench.book_net import BOOK
from fastnn.bench.report import format_seconds

from .store import FOLDER, Results, comparisons, load

ROOT = Path(__file__).parent.parent

#: The README by its language.
PAGES = {
    "en": ROOT / "README.md",
    "ko": ROOT / "README.ko.md",
    "ja": ROOT / "README.ja.md",
}

PICTURE = FOLDER / "numerical-gradient.svg"

OURS = "fastnn numba"

#: The contestants of the picture, and what they are called in it.
SHOWN = {
    "numdifftools Gradient": "numdifftools",
    "JAX vmap": "JAX (vmap)",
    BOOK: "the book's loop",
    "SciPy approx_fprime (forward)": "SciPy (forward differences)",
    "fastnn numpy": "fastnn (NumPy)",
    OURS: "fastnn (Numba)",
}


@dataclass(frozen=True)
class Measured:
    """What the front page shows: medians in seconds, the best of the numbers of threads."""

    gradient: dict[str, float]  # of all parameters, by contestant
    step: dict[str, float]  # of training by backpropagation
    numerical_step: dict[str, float]  # ours by numerical gradient, the book's by backpropagation
    cpu: str
    date: str
    claims: list[bool]  # whether each is met

    @classmethod
    def newest(cls, folder: Path = FOLDER) -> Measured:
        """Of the newest results of a machine without a GPU."""
        ours, peers = load("cpu", "fastnn", folder), load("cpu", "peers", folder)
        if ours is None or peers is None:
            raise ValueError(
                f"{folder} lacks results of a CPU; run nox -s bench bench-peers -- --record"
            )
        problem = "784-50-10, batch 100, mnist, float64"
        numerical = _medians(
            ours, "training step by numerical gradient, 784-50-10, batch 100, float64"
        )
        return cls(
            gradient=_medians(peers, f"numerical gradient beside the peers, {problem}"),
            step=_medians(peers, f"training step beside the peers, {problem}"),
            numerical_step={OURS: numerical[f"{OURS}, numerical"], BOOK: numerical[BOOK]},
            cpu=ours["machine"]["cpu"],
            date=ours["date"][:10],
            claims=[
                claim["met"]
                for results in (ours, peers)
                for found in results["comparisons"]
                for claim in found["claims"]
            ],
        )


def _medians(results: Results, name: str) -> dict[str, float]:
    timings = comparisons(results, name)[""]
    return {contestant: timing["median"] for contestant, timing in timings.items()}


def factor(seconds: dict[str, float]) -> str:
    """How many times faster than the book's loop, to three digits; to two below ten."""
    ratio = seconds[BOOK] / seconds[OURS]
    return f"{float(f'{ratio:.3g}'):,.0f} ×" if ratio >= 10 else f"{ratio:.1f} ×"


# -- the table -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Words:
    """The words of the block in one language."""

    alternative: str
    book: str
    head: str
    gradient: str
    step: str
    numerical_step: str
    by_backpropagation: str
    note: str


WORDS = {
    "en": Words(
        "Time of one numerical gradient, on a logarithmic scale: {rows}. A training step of the "
        "book by backpropagation takes {step}.",
        "the book's loop",
        "| 784-50-10, MNIST, batches of 100, float64 | book's loop | fastnn, Numba | faster "
        "| the command that prints it |",
        "numerical gradient of all 39,760 parameters",
        "training step by backpropagation",
        "training step by numerical gradient",
        "{} by backpropagation",
        "Measured on {date}: {cpu}; the commands measure your machine. "
        "[All results](benchmarks/results/README.md): {met} of {all} claims are met, "
        "{missed} are not.",
    ),
    "ko": Words(
        "수치 미분으로 기울기를 한 번 구하는 시간(로그 눈금): {rows}. "
        "책의 오차역전파법 학습 1단계는 {step}.",
        "책의 반복문",
        "| 784-50-10, MNIST, 배치 100, float64 | 책의 반복문 | fastnn, Numba | 배율 "
        "| 값을 출력하는 명령 |",
        "매개변수 39,760개 전체의 수치 미분 기울기",
        "오차역전파법 학습 1단계",
        "수치 미분 학습 1단계",
        "{} (오차역전파법)",
        "{date}에 {cpu}에서 측정한 값이며, 위의 명령은 사용 중인 컴퓨터에서 측정합니다. "
        "[전체 결과](benchmarks/results/README.md): 목표 {all}개 중 {met}개 달성, {missed}개 미달.",
    ),
    "ja": Words(
        "数値微分で勾配を 1 回求める時間（対数目盛）: {rows}。"
        "本の誤差逆伝播法による学習 1 ステップは {step}。",
        "本のループ",
        "| 784-50-10、MNIST、バッチ 100、float64 | 本のループ | fastnn、Numba | 倍率 "
        "| 値を表示するコマンド |",
        "全 39,760 パラメータの数値微分による勾配",
        "誤差逆伝播法による学習 1 ステップ",
        "数値微分による学習 1 ステップ",
        "{}（誤差逆伝播法）",
        "{date} に {cpu} で測定した値です。コマンドはお手元のマシンで測定します。"
        "[全結果](benchmarks/results/README.md): "
        "目標 {all} 件中 {met} 件を達成、{missed} 件は未達成。",
    ),
}


def alternative(measured: Measured, words: Words) -> str:
    """The text of the picture, for those who do not see it."""
    names = SHOWN | {BOOK: words.book}
    rows = ", ".join(f"{names[name]} {format_seconds(s)}" for name, s in _descending(measured))
    return words.alternative.format(rows=rows, step=format_seconds(measured.step[BOOK]))


def block(language: str, measured: Measured) -> str:
    """What stands between the two lines of the README in this language."""
    words = WORDS[language]
    met, claims = sum(measured.claims), len(measured.claims)
    rows = (
        (words.gradient, "{}", measured.gradient, "fastnn bench"),
        (words.step, "{}", measured.step, "fastnn bench"),
        (
            *(words.numerical_step, words.by_backpropagation),
            *(measured.numerical_step, "fastnn train --gradient numerical"),
        ),
    )
    return "\n".join(
        (
            f"![{alternative(measured, words)}]({PICTURE.relative_to(ROOT).as_posix()})",
            "",
            words.head,
            "|---|---:|---:|---:|---|",
            *(
                f"| {what} | {theirs.format(_unbroken(format_seconds(seconds[BOOK])))} "
                f"| {_unbroken(format_seconds(seconds[OURS]))} | {_unbroken(factor(seconds))} "
                f"| `{command}` |"
                for what, theirs, seconds, command in rows
            ),
            "",
            words.note.format(
                date=measured.date,
                cpu=measured.cpu,
                met=met,
                all=claims,
                missed=claims - met,
            ),
        )
    )


def _unbroken(number: str) -> str:
    """With spaces at which no line ends."""
    return number.replace(" ", "\u00a0")


def _descending(measured: Measured) -> list[tuple[str, float]]:
    """The contestants of the picture, the slowest first."""
    times = [(name, measured.gradient[name]) for name in SHOWN]
    return sorted(times, key=lambda row: -row[1])


# -- the picture -----------------------------------------------------------------------------------

#: Pixels: the picture, its axis from left to right and from top to bottom, a row, and the column
#: of the times.
WIDTH, LEFT, RIGHT, TOP, ROW, TIMES = 760, 210, 590, 78, 28, 674

STYLE = """\
text { font: 14px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 15px } .small { font-size: 12px; fill: #59636e }
.grid { stroke: #d1d9e0 } .step { stroke: #bc4c00; stroke-dasharray: 4 3 }
.note { font-size: 12px; fill: #bc4c00 } .ours { fill: #0969da } .other { fill: #818b98 }
text.ours { font-weight: 600 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .small { fill: #9198a1 } .grid { stroke: #3d444d } .ours { fill: #4493f8 }
.step { stroke: #f0883e } .note { fill: #f0883e } }"""


def svg(measured: Measured) -> str:
    """The numerical gradient by contestant on a logarithmic axis, as an SVG picture."""
    return "\n".join(_lines(measured)) + "\n"


def _lines(measured: Measured) -> Iterable[str]:
    rows = _descending(measured)
    step = measured.step[BOOK]
    seconds = [s for _, s in rows] + [step]
    low, high = math.floor(math.log10(min(seconds))), math.ceil(math.log10(max(seconds)))

    def place(s: float) -> str:
        return f"{LEFT + (math.log10(s) - low) / (high - low) * (RIGHT - LEFT):.1f}"

    bottom = TOP + ROW * len(rows)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 28}" '
        f'width="{WIDTH}" height="{bottom + 28}" role="img" aria-labelledby="title description">'
    )
    yield '<title id="title">Time of one numerical gradient</title>'
    yield f'<desc id="description">{escape(alternative(measured, WORDS["en"]))}</desc>'
    yield f"<style>{STYLE}</style>"
    yield '<text class="title" x="8" y="22">One numerical gradient of all 39,760 parameters</text>'
    yield (
        '<text class="small" x="8" y="42">784-50-10, 100 samples of MNIST, float64; '
        f"{escape(measured.cpu)}; logarithmic scale</text>"
    )
    for x, head in ((TIMES, "time"), (WIDTH - 8, "faster")):
        yield f'<text class="small" x="{x}" y="{TOP - 8}" text-anchor="end">{head}</text>'
    for power in range(low, high + 1):
        x = place(10.0**power)
        yield f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP}" y2="{bottom}"/>'
        yield (
            f'<text class="small" x="{x}" y="{bottom + 18}" text-anchor="middle">'
            f"{_tick(power)}</text>"
        )
    x = place(step)
    yield f'<line class="step" x1="{x}" x2="{x}" y1="{TOP - 4}" y2="{bottom}"/>'
    yield (  # above, where no number of the axis is
        f'<text class="note" x="{x}" y="{TOP - 8}" text-anchor="middle">'
        f"the book's training step by backpropagation: {format_seconds(step)}</text>"
    )
    for i, (name, s) in enumerate(rows):
        y = TOP + ROW * i + ROW // 2
        kind = "ours" if name.startswith("fastnn") else "other"
        label = ' class="ours"' if kind == "ours" else ""
        ratio = factor({OURS: s, BOOK: measured.gradient[BOOK]})
        yield f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y}" y2="{y}"/>'
        yield f'<circle class="{kind}" cx="{place(s)}" cy="{y}" r="6"/>'
        yield f'<text{label} x="8" y="{y + 5}">{escape(SHOWN[name])}</text>'
        yield f'<text{label} x="{TIMES}" y="{y + 5}" text-anchor="end">{format_seconds(s)}</text>'
        yield f'<text{label} x="{WIDTH - 8}" y="{y + 5}" text-anchor="end">{ratio}</text>'
    yield "</svg>"


def _tick(power: int) -> str:
    unit, scale = next((u, p) for u, p in (("s", 0), ("ms", -3), ("µs", -6)) if power >= p)
    return f"{10 ** (power - scale)} {unit}"
