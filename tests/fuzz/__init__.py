"""Calls that nobody would think of, drawn by Hypothesis, and what holds for each of them.

Either a result of the documented type, shape and dtype, or a :class:`fastnn.FastnnError` whose
message is one line of at most 300 characters; or, of a function of the user's own, the user's own
exception. Never another exception, never a warning that is not documented, never a changed input:
no byte of an array that was handed in, no parameter of a network after an error. Of the command
line: exit code 0, 1 where ``gradcheck`` fails, or 2 with one line on standard error.

:mod:`.values` is what is handed in, :mod:`.calls` what is checked. A run of the suite takes a
small part of each; ``nox -s fuzz`` (:mod:`.__main__`) goes on for 20 minutes, keeps the shortest
call for each kind of fault, and counts.
"""
