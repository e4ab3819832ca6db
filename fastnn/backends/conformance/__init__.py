"""The tests of the contract, for whoever writes a backend: ``pip install 'fastnn[conformance]'``.

``python -m pytest --pyargs fastnn.backends.conformance --backend mine`` runs them over a registered
backend; ``--backend`` may be given several times, and without it they run over every registered
backend that can run here. ``--examples 10`` draws fewer examples of each property than the usual
40.

The operations are held against the formulas of the book in extended precision (``oracle``), within
bounds of the rounding error of a plain evaluation: (operations) · eps · (magnitudes).

=====================  ==========================================================
``test_signatures``    the backend's methods have the signatures of the reference
``test_machine``       instances, copies, warming up
``test_doors``         what enters and leaves, and what is refused
``test_datasets``      samples and targets as the backend keeps them
``test_layers``        dense layers, forwards and backwards
``test_losses``        outputs, losses, their gradients
``test_numerical``     the numerical gradient
``test_steps``         steps of training in the backend's own way
=====================  ==========================================================
"""
