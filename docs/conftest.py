"""Every code block of the site is a test."""

from pathlib import Path

from tests.documents import pages

collect_ignore = ["conf.py", "check_site.py", "_ext"]

pytest_collect_file = pages(Path(__file__).parent, "*.md", "*/*.md")
