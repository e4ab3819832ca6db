"""Benchmarks (``nox -s bench``), those of peers (``bench-peers``), and a guard, ``bench-check``."""
