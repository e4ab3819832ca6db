"""The site: what is in it, and that its checks would find what is wrong.

Its blocks of code are tests themselves (docs/conftest.py), and `nox -s docs` makes it and runs the
notebooks.
"""

import re
import runpy
from pathlib import Path

import pytest

import fastnn

pytest.importorskip("matplotlib", reason="the blocks of the pages need it")
pytest.importorskip("sybil", reason="it finds the blocks of the pages")

import documents

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
CHECK = runpy.run_path(str(DOCS / "check_site.py"))


def names(paths):
    return [str(path.relative_to(DOCS)) for path in paths]


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_what_is_not_run_has_a_reason(page):
    text = page.read_text(encoding="utf-8")
    assert "% skip: start" not in text
    for skip in re.findall(r"^% skip: (.*)$", text, re.MULTILINE):
        assert re.fullmatch(r'next (".{10,}"|if\(.*, reason=".{5,}"\))', skip), skip


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_blocks_are_of_kinds_that_are_run(page):
    """A block of another kind, such as `bash`, would pass unseen."""
    kinds = set(re.findall(r"^```(\S+)", page.read_text(encoding="utf-8"), re.MULTILINE))
    run = {"python", "sh", "console"}
    shown = {"toml"}  # tests/mirror has it in full, and tests/test_backends.py installs that
    assert {kind for kind in kinds if not kind.startswith("{")} <= run | shown
    assert "{code-block}" not in kinds


def test_pictures_of_notebooks_have_a_text():
    """The build checks all pictures; this is sooner."""
    for page in (DOCS / "tutorial").glob("*.md"):
        for cell in re.findall(r"```{code-cell}.*?```", page.read_text("utf-8"), re.DOTALL):
            assert ("plt.show()" in cell) == ("alt: " in cell), cell


def test_every_public_name_is_in_the_reference():
    text = "\n".join(p.read_text(encoding="utf-8") for p in (DOCS / "reference").glob("*.md"))
    there = set(re.findall(r"^\.\. (?:auto\w+|module|py:data):: (?:fastnn\.)?(\w+)$", text, re.M))
    assert {*fastnn.__all__, *fastnn.ESTIMATORS} - there == set()


# -- the checks ------------------------------------------------------------------------------------


@pytest.fixture
def page(tmp_path):
    namespace = {}
    documents.begin(namespace)
    yield documents
    documents.end(namespace)


def test_a_command_that_fails_is_a_failure(page):
    assert page.shell("echo one && python -c 'print(2)'") == "one\n2\n"
    with pytest.raises(AssertionError, match="exit code 3"):
        page.shell("(exit 3)\necho on")


def test_extras_have_to_be_there(page):
    page.shell("pip install 'fastnn[plot,sklearn]' pandas && python -m pip install .")
    with pytest.raises(AssertionError, match=r"no such extras: .*plots"):
        page.shell("python -m pip install 'fastnn[plots]'")


class Example:
    def __init__(self, parsed):
        self.parsed = parsed


def test_what_a_console_prints_is_compared(page):
    page.run_console(Example("$ echo a b\na b\n$ echo 12 s\n... s\n$ echo anything\n"))
    with pytest.raises(AssertionError, match="printed"):
        page.run_console(Example("$ echo a\na\n$ echo b\nc\n"))


def test_what_is_wrong_with_a_site_is_found(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "there.html").write_text("<p id=here>")
    wrong = {
        '<a href="there.html#here">': None,
        '<a href="https://example.org">': None,
        '<img src="there.html" alt="A picture.">': None,
        '<a href="gone.html">': "gone.html leads nowhere",
        '<a href="there.html#gone">': "there is no anchor there.html#gone",
        '<a href="#gone">': "there is no anchor #gone",
        '<img src="there.html">': "has no text alternative",
        '<img src="there.html" alt="there.html">': "has no text alternative",
        '<script src="https://example.org/a.js"></script>': "from elsewhere",
        '<link rel="stylesheet" href="//example.org/a.css">': "from elsewhere",
    }
    check = CHECK["faults"]
    check.__globals__["missing"] = lambda _: []
    for text, fault in wrong.items():
        (folder / "page.html").write_text(text)
        found = check(folder)
        assert (found == []) if fault is None else (len(found) == 1 and fault in found[0]), text
    (folder / "page.html").write_text("")
    (folder / "page.css").write_text('@import "https://example.org/font.css";')
    assert len(check(folder)) == 1
