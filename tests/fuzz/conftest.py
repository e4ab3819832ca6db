"""Counts what was tried."""

from . import calls


def pytest_terminal_summary(terminalreporter):
    if calls.inputs:
        terminalreporter.write_line(f"fuzz: {calls.inputs:,} inputs")


def pytest_sessionfinish():
    if calls.RECORD:
        calls.record()
