"""The front page in its three languages: what it says is run, and its links lead somewhere."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.front_page import PAGES
from fastnn.cli import cli

ROOT = Path(__file__).parent.parent
TEXTS = {language: page.read_text(encoding="utf-8") for language, page in PAGES.items()}
ENGLISH = TEXTS["en"]

TRAIN, TEST = "python -m pip install . && fastnn train", "python -m pip install nox && nox -s tests"


def blocks(text):
    """The blocks of code: (language, code)."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def links(text):
    return re.findall(r"\]\(([^)\s]+)\)", text)


def without_code(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("language", TEXTS)
class TestEveryLanguage:
    def test_the_same_code(self, language):
        assert blocks(TEXTS[language]) == blocks(ENGLISH)

    def test_the_same_order(self, language):
        def shape(text):
            """Headings, rows of tables, items and pictures in their order."""
            return re.findall(r"^(#+|\||-|!)(?= |\[)", without_code(text), re.MULTILINE)

        assert shape(TEXTS[language]) == shape(ENGLISH)

    def test_the_same_links_but_to_itself(self, language):
        pages = {page.name for page in PAGES.values()}
        others = [link for link in links(TEXTS[language]) if link not in pages]
        assert others == [link for link in links(ENGLISH) if link not in pages]
        assert {*links(TEXTS[language])} & pages == pages - {PAGES[language].name}

    def test_links_lead_somewhere(self, language):
        for link in links(TEXTS[language]):
            if link.startswith("docs/") and not (ROOT / "docs").exists():
                continue  # an sdist or a checkout without the site
            assert "://" not in link
            assert (ROOT / link).exists(), link

    def test_numbers_and_names_are_the_same(self, language):
        """What stands in backquotes, and the figures of the prose of two digits and more."""

        def found(text):
            text = without_code(text)
            return {*re.findall(r"`[^`\n]+`", text), *re.findall(r"\d[\d,.]*\d", text)}

        assert found(TEXTS[language]) == found(ENGLISH)

    def test_it_is_short(self, language):
        assert len(TEXTS[language].splitlines()) <= 95

    def test_pictures_have_a_text(self, language):
        alternatives = re.findall(r"!\[([^\]]*)\]", TEXTS[language])
        assert len(alternatives) == 1
        assert all(len(text) > 50 for text in alternatives)


def test_the_two_commands():
    commands = [code.strip() for language, code in blocks(ENGLISH) if language == "sh"]
    assert commands == [TRAIN, TEST]
    assert TEST in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "def tests(session" in (ROOT / "noxfile.py").read_text(encoding="utf-8")


def test_the_train_command():
    """What the first command runs once the package is installed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", *TRAIN.rpartition(" && ")[2].split(), "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (claimed,) = re.findall(r"test accuracy of (0\.\d+)", ENGLISH)
    assert json.loads(done.stdout)["test_accuracy"] == pytest.approx(float(claimed), abs=0.002)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`fastnn (\w[^`]*)`", ENGLISH))))
def test_commands_in_the_text(command):
    shown = CliRunner().invoke(cli, [*command.split(), "--help"])
    assert shown.exit_code == 0, shown.output


@pytest.mark.parametrize("session", sorted(set(re.findall(r"nox -s ([\w-]+)", ENGLISH))))
def test_sessions_in_the_text(session):
    if session == "docs" and not (ROOT / "docs").exists():
        pytest.skip("no site here")
    assert re.search(
        rf'^def {session}\(|name="{session}"', (ROOT / "noxfile.py").read_text("utf-8"), re.M
    )


@pytest.mark.parametrize("extra", sorted(set(re.findall(r"'\.\[(\w+)\]'", ENGLISH))))
def test_extras_in_the_text(extra):
    assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text("utf-8"), re.M)


def test_the_python(tmp_path):
    """All blocks in their order, as a reader types them one after another."""
    pytest.importorskip("sklearn")
    code = "\n".join(code for language, code in blocks(ENGLISH) if language == "python")
    told = (
        "import sys\n"
        "print(type(search.best_estimator_).__module__, search.best_score_)\n"
        "print(*(gradient[name].shape for name in gradient))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{code}\n{told}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, *report, search, shapes = done.stdout.splitlines()
    accuracy, seconds = map(float, first.split())
    assert accuracy == pytest.approx(0.945, abs=0.002)
    assert seconds > 0
    assert report[-1].startswith("pass: method incremental")
    module, score = search.split()
    assert module.startswith("fastnn.")
    assert float(score) > 0.85
    assert shapes == "(784, 50) (50,) (50, 10) (10,)"
