"""The code blocks of the pages in docs/, as tests: Sybil finds them, and runs them in order.

The blocks of a page share their names and a new directory. ``python`` is run, and compared where it
has prompts; ``sh`` is run by bash and must not fail; of ``console`` the lines after ``$`` are run
and what is printed compared with the others, ``...`` standing for anything. ``% skip: next "why"``
before a block says that it is not run. ``pip install`` installs nothing: it is only seen whether
there is such an extra.
"""

import doctest
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import matplotlib
from sybil import Sybil
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser, SkipParser

ROOT = Path(__file__).parent.parent
ELLIPSIS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = set(PROJECT["optional-dependencies"])

#: Takes the place of pip in the blocks.
PIP = f"""#!{sys.executable}
import re, sys
extras = {EXTRAS}
asked = {{e for a in sys.argv for e in ",".join(re.findall(r"\\[(.*)\\]", a)).split(",") if e}}
sys.exit(f"no such extras: {{asked - extras}}" if asked - extras else 0)
"""


def begin(namespace):
    """Go to a new directory, with the programs that a page calls."""
    namespace["_before"] = Path.cwd(), os.environ.copy()
    folder = Path(tempfile.mkdtemp(prefix="fastnn-page-"))
    programs = {"pip": PIP, "fastnn": f'#!/bin/sh\nexec "{sys.executable}" -m fastnn "$@"\n'}
    (folder / ".bin").mkdir()
    for name, text in programs.items():
        path = folder / ".bin" / name
        path.write_text(text)
        path.chmod(0o755)
    for name in ("python", "python3"):
        path = folder / ".bin" / name
        path.write_text(
            f'#!/bin/sh\n[ "$1 $2" = "-m pip" ] && {{ shift 2; exec pip "$@"; }}\n'
            f'exec "{sys.executable}" "$@"\n'
        )
        path.chmod(0o755)
    os.environ["PATH"] = f"{folder / '.bin'}{os.pathsep}{os.environ['PATH']}"
    os.environ["PYTHONPATH"] = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    os.chdir(folder)
    matplotlib.use("agg")


def end(namespace):
    before, environment = namespace["_before"]
    folder = Path.cwd()
    os.chdir(before)
    os.environ.clear()
    os.environ.update(environment)
    shutil.rmtree(folder, ignore_errors=True)
    from matplotlib import pyplot

    pyplot.close("all")


def shell(text):
    """What bash prints, to either stream, when it runs this; it must not fail."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"exit code {done.returncode}:\n{text}\n{done.stdout}"
    return done.stdout


def run_sh(example):
    shell(example.parsed)


def run_console(example):
    commands = re.split(r"^\$ ", example.parsed, flags=re.MULTILINE)[1:]
    for command in commands:
        lines = command.splitlines()
        size = 1
        while lines[size - 1].endswith("\\"):
            size += 1
        found, expected = shell("\n".join(lines[:size])), "\n".join(lines[size:])
        matches = doctest.OutputChecker().check_output(f"{expected}\n", found, ELLIPSIS)
        assert matches or not expected.strip(), f"{command}\nprinted\n{found}"


def pages(path, *patterns):
    """Pytest's hook for the pages of a folder."""
    return Sybil(
        parsers=[
            SkipParser(),
            PythonCodeBlockParser(doctest_optionflags=ELLIPSIS),
            CodeBlockParser(language="sh", evaluator=run_sh),
            CodeBlockParser(language="console", evaluator=run_console),
        ],
        path=str(path),
        patterns=patterns,
        setup=begin,
        teardown=end,
    ).pytest()
