"""These are scripts for test_book.py to run, not modules with doctests."""

collect_ignore_glob = ["*.py"]
