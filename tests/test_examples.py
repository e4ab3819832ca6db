"""The scripts of examples/, run as a reader runs them, in another folder."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples"


def run(name, folder):
    script = FOLDER / f"{name}.py"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(folder.iterdir()) == []  # nothing is left behind
    return done.stdout


@pytest.mark.parametrize("script", sorted(FOLDER.glob("*.py")), ids=lambda script: script.stem)
def test_short_and_tested(script):
    text = script.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    assert f"python examples/{script.name}" in text
    assert f"def test_{script.stem}(" in Path(__file__).read_text(encoding="utf-8")


def test_train(tmp_path):
    lines = run("train", tmp_path).splitlines()
    accuracies = [float(found) for found in re.findall(r"([\d.]+)% of the test", "\n".join(lines))]
    assert len(accuracies) == 2
    assert accuracies[-1] > 90
    labels, predictions = (line.split()[1:] for line in lines[-2:])
    assert len(labels) == 10
    assert sum(map(str.__eq__, labels, predictions)) >= 9


def test_gradient_check(tmp_path):
    out = run("gradient_check", tmp_path)
    assert out.count("FAIL") >= 2  # W1 and b1, which the derivative enters, and the verdict
    largest = float(re.search(r"largest difference: (\S+)", out)[1])
    assert largest < 1e-15


def test_own_function(tmp_path):
    out = run("own_function", tmp_path)
    assert "0.1999999999990898\n" in out  # what the book prints
    assert "gradient at (3, 4): [6. 8.]" in out
    field = re.findall(r"\[(-?[\d.]+), (-?[\d.]+)\]", out.split("field:")[1])
    grid = [(2 * x, 2 * y) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    assert [tuple(map(float, point)) for point in field] == grid
    end = re.search(r"to \[ *(\S+) +(\S+)\]", out)
    expected = (-3 * 0.8**100, 4 * 0.8**100)  # each step takes off a fifth
    assert tuple(map(float, end.groups())) == pytest.approx(expected, rel=1e-5)


def test_pipeline(tmp_path):
    pytest.importorskip("sklearn")
    out = run("pipeline", tmp_path)
    assert float(re.search(r"test samples: (\S+)", out)[1]) > 0.9
    assert len(out.splitlines()[-1].split(": ")[1].split()) == 5


def test_own_backend(tmp_path):
    relu, sigmoid = run("own_backend", tmp_path).splitlines()
    for line in (relu, sigmoid):
        mine, numpys = re.findall(r"\d+\.\d+", line)
        assert float(mine) == pytest.approx(float(numpys), abs=2e-6)
    calls = [int(re.search(r"(\d+) calls", line)[1]) for line in (relu, sigmoid)]
    assert calls[0] == 2 * calls[1] > 200  # the hidden layer of the sigmoid is the reference's
