"""A working backend, and one whose probe fails."""

import numpy as np

from fastnn.backends.base import Availability, Backend

CALLS = []


class MirrorBackend(Backend):
    """NumPy again, noting the calls of one operation."""

    name = "mirror"
    xp = np

    @classmethod
    def probe(cls):
        return Availability(True, "a mirror")

    def dense(self, x, W, b, activation="identity", *, out=None):
        CALLS.append(activation)
        return super().dense(x, W, b, activation, out=out)


class NervousBackend(MirrorBackend):
    """A backend that breaks the rule that a probe does not raise."""

    name = "nervous"

    @classmethod
    def probe(cls):
        raise OSError("the driver hung up")
