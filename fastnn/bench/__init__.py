"""Measuring on the machine at hand: contestants in turn, against the book's own loops.

``fastnn bench`` shows what :func:`fastnn.bench.measure.measure` returns; the suite in
``benchmarks/`` measures with the same tools. To be read in this order:

- ``timing``: contestants, taken in turn round after round;
- ``book_net``: the book's loops, the yardstick;
- ``machine``: what a measurement must be read with;
- ``measure``: a training step and a numerical gradient on every backend;
- ``report``: these as a table and as a picture.
"""
