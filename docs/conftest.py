"""Every code block of the site is a test."""

from pathlib import Path

collect_ignore = ["conf.py", "check_site.py", "_ext"]

try:
    from tests.documents import pages
except ImportError:  # of sybil or matplotlib: tests/test_docs.py says so
    pass
else:
    pytest_collect_file = pages(Path(__file__).parent, "*.md", "*/*.md")
