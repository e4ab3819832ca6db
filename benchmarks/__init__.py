"""Benchmarks of fastnn: ``nox -s bench``, beside its peers ``nox -s bench-peers``, as a regression guard ``nox -s bench-check``."""
