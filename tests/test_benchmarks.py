"""The benchmarks run, cover the contract, and what they measured is shown."""

import json
import re
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from xml.etree import ElementTree

import book
import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import (
    check,
    front_page,
    peak_memory,
    problems,
    reasons,
    recording,
    report,
    store,
    test_gpu,
)
from benchmarks.peers import GPU_PEERS
from benchmarks.peers import test_gpu as peers_on_gpu
from fastnn.backends.base import OPERATIONS
from fastnn.bench import machine
from fastnn.bench.book_net import BookNet
from fastnn.bench.measure import measure
from fastnn.bench.report import check_picture, format_seconds, plot, table
from fastnn.bench.timing import Timing, interleave, repeat
from fastnn.cli import cli
from fastnn.errors import InputError

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
    """Every benchmark run once in a fresh process, untimed, on small data: test → outcome."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "benchmarks",
        "--benchmark-disable",
        "-v",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    found = dict(
        re.findall(r"^(\S+::\S+) (PASSED|FAILED|ERROR|SKIPPED)", done.stdout, re.MULTILINE)
    )
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
        assert any(
            set(re.split(r"[\[\]-]", name)) >= parts and outcomes[name] == "PASSED"
            for name in names
        )

    @pytest.mark.parametrize("path", PATHS)
    def test_path(self, outcomes, path, backend, dtype):
        assert outcomes[f"benchmarks/test_network.py::{path}[{backend}-{dtype}]"] == "PASSED"


class TestGpu:
    """The benchmarks that need a GPU, once over the kernels that run on the CPU."""

    @pytest.fixture
    def record(self):
        return recording.Record(quick=True)

    @staticmethod
    def problem(size, dtype, data="mnist"):
        return problems.Problem(problems.SIZES[size].shrunk(), dtype, data, quick=True)

    @pytest.mark.parametrize(
        ("gradient", "dtype", "claims"), [("backprop", "float32", 4), ("numerical", "float32", 2)]
    )
    def test_training(self, cupy_on_the_cpu, record, gradient, dtype, claims):
        test_gpu.test_training(gradient, dtype, cupy_on_the_cpu, record, self.problem)
        assert len(record.comparisons) == claims
        assert "fastnn cupy" in record.comparisons[0]["timings"]

    def test_large_layers(self, cupy_on_the_cpu, record):
        test_gpu.test_large_layers("float64", cupy_on_the_cpu, record)
        (claim,) = record.comparisons[0]["claims"]
        assert claim["text"] == "fastnn cupy takes at most 1.05 of the time of plain CuPy"

    def test_beside_the_peers(self, cupy_on_the_cpu, record):
        peers_on_gpu.test_training_step("float32", cupy_on_the_cpu, record, self.problem)
        (comparison,) = record.comparisons
        found = {*comparison["timings"], *comparison["skipped"]}
        assert found == {"fastnn cupy", "plain CuPy", *GPU_PEERS}


@pytest.mark.skipif(sys.platform == "win32", reason="has no count of the memory in use")
def test_the_memory_of_a_program_is_not_that_of_who_started_it(tmp_path):
    more, used = np.ones(2**25), tmp_path / "used"
    subprocess.run([sys.executable, peak_memory.__file__, used, "this"], check=True)
    mebibytes = more.nbytes / 2**20
    assert peak_memory.peak() > mebibytes > 5 * float(used.read_text()) > 5


def test_the_page_shows_the_committed_results():
    shown = report.between(report.PAGE.read_text(encoding="utf-8"))
    assert shown == report.markdown().strip(), "run python -m benchmarks.report"
    for picture in re.findall(r"\]\((\S+\.png)\)", shown):
        assert (report.PAGE.parent / picture).stat().st_size > 1000


def test_a_page_without_its_lines():
    with pytest.raises(ValueError, match="lacks the lines"):
        report.between(f"{report.BEGIN}\nand no end")


@pytest.fixture(scope="module")
def found():
    """The newest results of a CPU, by session."""
    newest = {}
    for file in store.FOLDER.glob("*.json"):
        for session, part in json.loads(file.read_text(encoding="utf-8")).items():
            if "cupy" not in part["machine"]["devices"]:
                newest[session] = max(newest.get(session, part), part, key=lambda p: p["date"])
    return newest


class TestFrontPage:
    """The picture and the three rows, against the file of results itself."""

    @staticmethod
    def medians(part, name):
        (timings,) = (c["timings"] for c in part["comparisons"] if c["name"] == name)
        book = [t["median"] for label, t in timings.items() if label.startswith("book's loop")]
        return min(book), {label: t["median"] for label, t in timings.items()}

    @pytest.mark.parametrize("language", front_page.PAGES)
    def test_the_rows(self, found, language):
        text = front_page.PAGES[language].read_text(encoding="utf-8")
        shown = report.between(text)
        measured = front_page.Measured.newest()
        assert shown == front_page.block(language, measured), "run python -m benchmarks.report"
        problem, ours = "784-50-10, batch 100, mnist, float64", "fastnn numba"
        steps = "training step by numerical gradient, 784-50-10, batch 100, float64"
        expected = [
            (ours, "peers", f"numerical gradient beside the peers, {problem}"),
            (ours, "peers", f"training step beside the peers, {problem}"),
            (f"{ours}, numerical", "fastnn", steps),
        ]
        lines = shown.replace("\u00a0", " ").splitlines()
        rows = [line.split(" | ") for line in lines if line.startswith("| ")][1:]
        assert len(rows) == 3
        for (_, theirs, mine, ratio, _), (name, session, of) in zip(rows, expected, strict=True):
            loop, medians = self.medians(found[session], of)
            assert theirs.startswith(format_seconds(loop))
            assert mine == format_seconds(medians[name])
            assert float(ratio.rstrip("× ").replace(",", "")) == pytest.approx(
                loop / medians[name], rel=0.03
            )

    def test_what_is_not_met_is_counted(self, found):
        claims = [c["met"] for p in found.values() for x in p["comparisons"] for c in x["claims"]]
        text = front_page.PAGES["en"].read_text(encoding="utf-8")
        assert f"{sum(claims)} of {len(claims)} claims are met" in text
        parts = [store.load("gpu", session) for session in ("fastnn", "peers")]
        on_gpu = [c["met"] for p in parts for x in p["comparisons"] for c in x["claims"]]
        page = report.PAGE.read_text(encoding="utf-8")
        assert page.count("| **") >= [*claims, *on_gpu].count(False)

    def test_the_picture(self):
        measured = front_page.Measured.newest()
        drawn = front_page.svg(measured)
        assert front_page.PICTURE.read_text(encoding="utf-8") == drawn, (
            "run python -m benchmarks.report"
        )
        root = ElementTree.fromstring(drawn)
        space = {"s": "http://www.w3.org/2000/svg"}
        assert root.find("s:desc", space).text == front_page.alternative(
            measured, front_page.WORDS["en"]
        )
        places = {c.get("cy"): float(c.get("cx")) for c in root.findall("s:circle", space)}
        seconds = sorted((measured.gradient[name] for name in front_page.SHOWN), reverse=True)
        slope, _ = np.polyfit(np.log10(seconds), list(places.values()), 1)
        fit = np.corrcoef(np.log10(seconds), list(places.values()))[0, 1]
        assert slope > 0
        assert fit == pytest.approx(1, abs=1e-4)  # the axis is logarithmic

    @pytest.mark.parametrize(
        ("ours", "shown"),
        [(0.0005344, "22,600 ×"), (0.1196, "101 ×"), (3.1, "3.9 ×"), (20, "0.6 ×")],
    )
    def test_factor(self, ours, shown):
        assert front_page.factor({front_page.OURS: ours, front_page.BOOK: 12.06}) == shown

    def test_no_results(self, tmp_path):
        with pytest.raises(ValueError, match="--record"):
            front_page.Measured.newest(tmp_path)


def results(date, cpu="AMD EPYC, 2 cores", gpu=None):
    devices = {"numpy": cpu} | ({"cupy": gpu} if gpu else {})
    return {
        "date": date,
        "commit": f"that of {date}",
        "machine": {"cpu": cpu, "devices": devices},
        "benchmarks": [{"id": "a", "ratio": 1.0}],
        "comparisons": [],
    }


class TestStore:
    def test_a_file_for_each_device_and_day(self, tmp_path):
        store.save(results("2026-01-02 03:04 UTC"), "fastnn", tmp_path)
        store.save(results("2026-01-02 03:04 UTC", gpu="NVIDIA H200"), "fastnn", tmp_path)
        store.save(results("2026-01-03 03:04 UTC"), "fastnn", tmp_path)
        names = {file.name for file in tmp_path.iterdir()}
        assert names == {
            f"{name}.json"
            for name in (
                "amd-epyc-2-cores-2026-01-02",
                "nvidia-h200-2026-01-02",
                "amd-epyc-2-cores-2026-01-03",
            )
        }

    def test_a_session_replaces_its_own_part(self, tmp_path):
        first, other, second = (results(f"2026-01-02 03:0{i} UTC") for i in range(3))
        for part, session in ((first, "fastnn"), (other, "peers"), (second, "fastnn")):
            store.save(part, session, tmp_path)
        assert store.load("cpu", "fastnn", tmp_path) == second
        assert store.load("cpu", "peers", tmp_path) == other

    def test_the_newest_of_a_kind(self, tmp_path):
        old, new, gpu = (
            results("2026-01-02 03:04 UTC"),
            results("2026-02-02 03:04 UTC", "Another"),
            results("2026-03-02", gpu="NVIDIA"),
        )
        for part in (new, old, gpu):
            store.save(part, "fastnn", tmp_path)
        assert store.load("cpu", "fastnn", tmp_path) == new
        assert store.load("gpu", "fastnn", tmp_path) == gpu
        assert store.load("gpu", "peers", tmp_path) is None


def run(minute, commit, *measured):
    """A run in which something was to be at most 1."""
    claims = [{"text": "it is at most 1", "measured": m, "met": m <= 1} for m in measured]
    return results(f"2026-01-02 03:0{minute} UTC") | {
        "commit": commit,
        "comparisons": [{"name": "something", "claims": [claim]} for claim in claims],
    }


class TestSeveralRuns:
    def test_those_of_a_commit_are_kept(self, tmp_path):
        for one in (run(0, "a", 5.0), run(1, "b", 0.5), run(2, "b", 1.5), run(3, "b", 0.75)):
            store.save(one, "fastnn", tmp_path)
        found = store.load("cpu", "fastnn", tmp_path)
        assert found["date"].endswith("03:03 UTC")
        assert found["earlier"] == [
            {"date": "2026-01-02 03:01 UTC", "claims": [["something", 0.5, True]]},
            {"date": "2026-01-02 03:02 UTC", "claims": [["something", 1.5, False]]},
        ]

    def test_results_alone_do_not_change_the_commit(self, tmp_path, monkeypatch):
        code, *shown = "code.py", "README.ja.md", "benchmarks/results/README.md"
        for name in (code, *shown):
            tmp_path.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
            tmp_path.joinpath(name).write_text("before")
        author = "-c", "user.name=a", "-c", "user.email=a@example.org"
        for command in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "all"]):
            subprocess.run(["git", *command], cwd=tmp_path, check=True)
        monkeypatch.chdir(tmp_path)
        commit = recording._commit()
        for name in shown:
            tmp_path.joinpath(name).write_text("after")
        tmp_path.joinpath("benchmarks/results/new.json").write_text("{}")
        assert recording._commit() == commit
        tmp_path.joinpath(code).write_text("after")
        assert recording._commit() == f"{commit}+"

    def test_a_run_of_some_benchmarks_does_not_count_with_one_of_all(self, tmp_path):
        for one in (run(0, "a", 5.0, 0.5), run(1, "a", 0.5)):
            store.save(one, "fastnn", tmp_path)
        found = store.load("cpu", "fastnn", tmp_path)
        assert "earlier" not in found
        assert len([*report._claims(found)]) == 1

    def test_how_often_claims_are_met(self, tmp_path, monkeypatch):
        known = {("some", "at most"): "it is large", ("other", "at most"): "no"}
        monkeypatch.setattr(reasons, "REASONS", known)
        for one in (run(0, "a", 0.5, 0.5, 2.0), run(1, "a", 0.25, 1.5, 3.0)):
            store.save(one, "fastnn", tmp_path)
        rows = [*report._claims(store.load("cpu", "fastnn", tmp_path))]
        assert rows == [
            "| something | it is at most 1 | 0.5 / 0.25 | met |",
            "| something | it is at most 1 | 0.5 / 1.5 | **met in 1 of 2**: it is large |",
            "| something | it is at most 1 | 2 / 3 | **not met**: it is large |",
        ]


TIMINGS = {
    name: Timing(median, median, median, 5) for name, median in (("ours", 2.0), ("theirs", 10.0))
}


class TestClaim:
    def test_times_faster(self):
        claim = recording.Claim("ours", ("theirs",), times_faster=6).judge(TIMINGS)
        assert (claim["measured"], claim["met"]) == (5.0, False)

    @pytest.mark.parametrize(("at_most", "met"), [(0.2, True), (0.1, False)])
    def test_at_most(self, at_most, met):
        claim = recording.Claim("ours", ("theirs",), at_most=at_most).judge(TIMINGS)
        assert (claim["measured"], claim["met"]) == (0.2, met)

    def test_seconds_beside_the_share(self):
        claim = recording.Claim("ours", ("theirs",), at_most=0.1, plus=1).judge(TIMINGS)
        assert (claim["measured"], claim["met"]) == (0.1, True)
        assert claim["text"] == "ours takes at most 0.1 of the time of theirs and 1.00 s"


COMMITTED_RATIOS = {"a": 1.0, "b": 0.5, "gone": 1.0}


class TestCheck:
    def test_finds_what_became_worse(self):
        assert check.regressions(
            COMMITTED_RATIOS, {"a": 1.9, "b": 1.5, "new": 9.0}, tolerance=2
        ) == {"b": 3.0}

    def test_better_is_no_regression(self):
        assert check.regressions(COMMITTED_RATIOS, {"a": 0.1, "b": 0.5}) == {}


@pytest.fixture(scope="module")
def measured():
    """A measurement that takes no time to speak of."""
    return measure(dtype="float32", hidden_size=2, batch_size=10, seconds=0.1)


class TestMeasure:
    @pytest.mark.parametrize("what", ["training_step", "numerical_gradient"])
    def test_every_backend_and_the_book(self, measured, what):
        rows = measured[what]
        loops = {name: row for name, row in rows.items() if name.startswith("book's loop")}
        assert loops
        assert {*rows, *measured["unavailable"]} >= {"numpy", "numba", "cupy"}
        fastest = min(row["median"] for row in loops.values())
        for row in rows.values():
            assert 0 < row["low"] <= row["median"] <= row["high"]
            assert row["speedup_over_book"] == pytest.approx(fastest / row["median"])
            assert row["speedup_over_numpy"] == pytest.approx(
                rows["numpy"]["median"] / row["median"]
            )

    def test_is_plain_data(self, measured):
        assert json.loads(json.dumps(measured)) == measured

    def test_table_shows_everything(self, measured):
        shown = table(measured)
        for name in (
            *measured["training_step"],
            *measured["unavailable"],
            measured["machine"]["cpu"],
            measured["network"],
        ):
            assert name in shown

    @pytest.mark.parametrize("suffix", ["png", "svg"])
    def test_plot(self, measured, tmp_path, suffix):
        pytest.importorskip("matplotlib")
        plot(measured, tmp_path / f"bench.{suffix}")
        assert (tmp_path / f"bench.{suffix}").stat().st_size > 1000

    @pytest.mark.parametrize("path", ["bench.nothing", "bench", "nowhere/bench.png"])
    def test_plot_to_an_impossible_file(self, tmp_path, path):
        pytest.importorskip("matplotlib")
        with pytest.raises(InputError, match="picture"):
            check_picture(tmp_path / path)

    def test_command(self, measured, monkeypatch):
        monkeypatch.setattr(
            "fastnn.bench.measure.measure", lambda **options: measured | {"options": options}
        )
        shown = CliRunner().invoke(
            cli, ["bench", "--dtype", "float32", "--hidden", "2", "--batch-size", "10"]
        )
        assert shown.output == table(measured) + "\n"
        shown = CliRunner().invoke(
            cli, ["bench", "--dtype", "float32", "--hidden", "2", "--batch-size", "10", "--json"]
        )
        assert json.loads(shown.output)["options"] == {
            "dtype": "float32",
            "hidden_size": 2,
            "batch_size": 10,
        }

    def test_plot_without_matplotlib(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(InputError, match=r"fastnn\[plot\]"):
            check_picture("bench.png")


def test_the_books_loop_is_the_oracle():
    rng = np.random.default_rng(0)
    params = {
        "W1": rng.normal(size=(4, 3)),
        "b1": rng.normal(size=3),
        "W2": rng.normal(size=(3, 2)),
        "b2": rng.normal(size=2),
    }
    x, t, rows = (
        rng.normal(size=(9, 4)),
        book.one_hot(rng.integers(2, size=9), 2),
        rng.integers(9, size=(5, 3)),
    )
    network = BookNet(params)
    assert network.loss(x, t) == pytest.approx(book.loss(params, x, t), rel=1e-12)
    every = network.numerical_gradient(x, t, parameters=12).reshape(4, 3)
    np.testing.assert_allclose(every, book.gradient(params, x, t)["W1"], atol=1e-6)
    network.train(x, t, rows, 0.1)
    book.train(params, x, t, rows, 0.1)
    for name, value in network.params.items():
        np.testing.assert_allclose(value, params[name], rtol=1e-12)


class TestMachine:
    REQUIRED = (
        "numpy>=2.0",
        "numba",
        "tqdm>=4.60",
        'cupy-cuda13x[ctk]>=14.2; extra == "cuda13"',
        "torch>=2.5; extra == 'torch'",
        "matplotlib>=3.8; extra == 'plot'",
    )

    @pytest.fixture
    def installed(self, monkeypatch):
        """What is installed, and what fastnn's metadata say, in place of the truth."""
        versions = {
            "fastnn": "1",
            "numpy": "2",
            "tqdm": "4",
            "cupy-cuda13x": "14",
            "matplotlib": "3",
            "pytest": "8",
        }

        def version(name):
            if name not in versions:
                raise PackageNotFoundError(name)
            return versions[name]

        def requires(name):
            version(name)
            return list(self.REQUIRED)

        monkeypatch.setattr(machine, "version", version)
        monkeypatch.setattr(machine, "requires", requires)
        return versions

    def test_the_versions_are_of_what_computes(self, installed):
        versions = machine.machine()["versions"]
        assert list(versions) == ["python", "fastnn", "numpy", "cupy-cuda13x"]
        assert versions["cupy-cuda13x"] == "14"

    def test_a_checkout_that_is_not_installed(self, installed):
        del installed["fastnn"]
        assert list(machine.machine()["versions"]) == ["python"]

    def test_the_truth(self):
        versions = machine.machine()["versions"]
        assert versions["numpy"] == np.__version__
        assert {"python", "fastnn", "numba"} <= versions.keys()
        assert not {"click", "pytest", "ruff"} & versions.keys()


class TestBench:
    def test_a_slow_first_call_does_not_decide_how_often_a_sample_calls(self):
        calls = []

        def call():
            time.sleep(0 if calls else 0.03)
            calls.append(1)

        sample = repeat(call)
        assert sample() >= 0.03
        assert len(calls) == 1
        assert sample() < 0.01
        assert len(calls) > 100

    def test_a_slow_call_is_made_once_a_sample_after_one_that_warms_up(self):
        calls = []
        sample = repeat(lambda: calls.append(time.sleep(0.02)))
        for expected in (1, 3, 5):
            assert sample() >= 0.02
            assert len(calls) == expected

    def test_interleave_takes_turns(self):
        turns = []

        def contestant(name, seconds):
            def sample():
                turns.append(name)
                return seconds

            return sample

        timings = interleave(
            {"a": contestant("a", 1.0), "b": contestant("b", 3.0)}, seconds=0, fewest=4, most=4
        )
        assert turns == ["a", "b"] * (len(turns) // 2)
        assert timings["a"] == Timing(1.0, 1.0, 1.0, timings["a"].rounds)
        assert timings["b"].median == 3.0

    def test_summary_of_samples(self):
        assert Timing.of([5.0, 1.0, 2.0, 3.0, 4.0]) == Timing(3.0, 2.0, 4.0, 5)
        assert Timing.of([2.0]) == Timing(2.0, 2.0, 2.0, 1)

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
        assert format_seconds(seconds) == shown
