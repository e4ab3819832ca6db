"""Run a module as a program, and write down the most memory that it had: FILE MODULE ARGUMENTS.

In MiB, mapped pages included. What the system says of a process that has ended is never less than
what the process had that started it.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak() -> float:
    """The most memory of this program."""
    if STATUS.exists():
        return int(STATUS.read_text().partition("VmHWM:")[2].split()[0]) / 2**10
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    file, *sys.argv = sys.argv[1:]
    sys.path[0] = ""  # as for python -m
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    finally:
        Path(file).write_text(str(peak()))
