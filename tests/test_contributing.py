"""What CONTRIBUTING.md and CHANGELOG.md say, and what a source distribution holds."""

import ast
import pkgutil
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import fastnn

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "fastnn"
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CHANGES = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
NOXFILE = (ROOT / "noxfile.py").read_text(encoding="utf-8")
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def rooms():
    """Of each row of the table, the paths under fastnn/ that it is about."""
    table = TEXT.split("| where in `fastnn/` |")[1].split("\n\n")[0]
    cells = [line.split(" | ")[0] for line in table.splitlines()[2:]]
    return [re.findall(r"`([^`]+)`", cell) for cell in cells]


def row_of(path):
    """The row of a module: that of the longest path that it lies under."""
    name = path.relative_to(PACKAGE).as_posix()
    found = [
        (len(room), row)
        for row, paths in enumerate(rooms())
        for room in paths
        if name == room or (room.endswith("/") and name.startswith(room))
    ]
    return max(found)[1] if found else None


# -- CONTRIBUTING.md -------------------------------------------------------------------------------


def test_the_python(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(blocks("python"))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_commands():
    """What they name is there; the tests of the contract are run by test_backends."""
    setup, conformance = (block.strip() for block in blocks("sh"))
    assert setup == "python -m pip install -e . --group dev"
    assert re.search(r"^dev = ", PROJECT, re.MULTILINE)
    assert "--pyargs fastnn.backends.conformance --backend" in conformance
    (entry,) = blocks("toml")
    assert '[project.entry-points."fastnn.backends"]' in entry


@pytest.mark.parametrize("session", sorted(set(re.findall(r"nox -s ([\w-]+)", TEXT))))
def test_sessions(session):
    if session == "docs" and not (ROOT / "docs").exists():
        pytest.skip("no site here")
    assert re.search(rf'^def {session}\(|name="{session}"', NOXFILE, re.MULTILINE)


@pytest.mark.parametrize("path", sorted({room for paths in rooms() for room in paths}))
def test_rooms_are_there(path):
    found = PACKAGE / path
    assert found.is_dir() if path.endswith("/") else found.is_file()


def test_every_module_has_its_room():
    for path in PACKAGE.rglob("*.py"):
        if path.parent != PACKAGE or not path.name.startswith("__"):
            inside = path.relative_to(PACKAGE).parts[0]
            assert row_of(path) is not None or inside == "backends", path


def test_imports_run_down_the_table():
    """What a module imports when it is imported stands in its own row, or in one above."""
    for path in PACKAGE.rglob("*.py"):
        if "conformance" in path.parts:  # tests
            continue
        row = row_of(path)
        for node in ast.parse(path.read_text("utf-8")).body if row is not None else ():
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for name in node.names:
                candidates = (base / f"{name.name}.py", base / name.name / "__init__.py")
                candidates += (base.with_suffix(".py"), base / "__init__.py")
                found = next((c for c in candidates if c.exists()), None)
                below = found and row_of(found)
                assert below is None or below <= row, f"{path} imports {base}"


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:fastnn|tests|examples|benchmarks)/[^`*]+)`", TEXT)))
)
def test_paths_in_the_text(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize(
    "name", ["CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/results/README.md"]
)
def test_links(name):
    page = ROOT / name
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        assert link.startswith("https://") or (page.parent / link).exists(), link


# -- CHANGELOG.md ----------------------------------------------------------------------------------


def test_versions():
    found = re.findall(r"^## \[([\d.]+)\] - (\d{4}-\d\d-\d\d)$", CHANGES, re.MULTILINE)
    assert found[0][0] == fastnn.__version__
    assert [date for _, date in found] == sorted((date for _, date in found), reverse=True)


def test_kinds_of_changes():
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", CHANGES, re.MULTILINE)) <= kinds


@pytest.mark.parametrize("extra", sorted(set(re.findall(r"fastnn\[(\w+)\]", CHANGES + TEXT))))
def test_extras(extra):
    assert re.search(rf"^{extra} = \[", PROJECT, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(fastnn(?:\.\w+)+)`", CHANGES))))
def test_names(name):
    pkgutil.resolve_name(name)


# -- the source distribution -----------------------------------------------------------------------


def test_sdist(tmp_path):
    sdist = pytest.importorskip("hatchling.builders.sdist")
    (built,) = sdist.SdistBuilder(str(ROOT)).build(directory=str(tmp_path))
    with tarfile.open(built) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for file in (
        *("README.md", "README.ko.md", "README.ja.md", "CHANGELOG.md", "CONTRIBUTING.md"),
        *("LICENSE", "noxfile.py", ".ci/run", "pyproject.toml", "examples/train.py"),
        *("benchmarks/results/numerical-gradient.svg", "fastnn/backends/cupy/cuda/step.cu"),
    ):
        assert file in names, file
    assert not [name for name in names if "__pycache__" in name]
