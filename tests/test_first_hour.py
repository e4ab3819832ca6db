"""The script for the first hour on a GPU, rehearsed over the kernels on the CPU."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cuda_on_cpu import raw_module

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(
    not raw_module.compiler() or not shutil.which("bash"), reason="needs g++ and bash"
)


def rehearse(out, *stages, **variables):
    environment = os.environ | {"OUT": str(out), "REHEARSE": "1", "PYTHON": sys.executable}
    return subprocess.run(
        ["bash", "benchmarks/first_hour.sh", *stages],
        cwd=ROOT,
        env=environment | {"WORKERS": "1"} | variables,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("stage", ["smoke", "times", "semantics", "sanitize", "tests"])
def test_each_stage_runs(tmp_path, stage):
    done = rehearse(tmp_path, stage)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    if stage == "tests":
        assert "passed" in done.stdout
        return
    name = "shapes" if stage == "sanitize" else stage
    found = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    assert found
    assert all(one["ok"] for one in found)


def test_a_stage_that_fails_does_not_end_the_others(tmp_path):
    done = rehearse(tmp_path, "smoke", "sanitize", PYTHON="false")
    assert done.returncode == 2
    assert (tmp_path / "sanitize.log").is_file()


def test_an_unknown_stage_is_refused(tmp_path):
    done = rehearse(tmp_path, "dance")
    assert done.returncode == 64
    assert "no stage dance" in done.stderr
