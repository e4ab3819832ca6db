"""Benchmarks of fastnn (``nox -s bench``), beside its peers (``bench-peers``), and a regression guard (``bench-check``)."""
