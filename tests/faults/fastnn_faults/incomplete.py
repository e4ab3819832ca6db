"""Backends that cannot be used, each with one thing the matter with it."""

import numpy as np
from fastnn_mirror.backend import MirrorBackend

from fastnn.backends.base import Backend

NUMBER = 1


class NervousBackend(MirrorBackend):
    """Its probe raises."""

    name = "nervous"

    @classmethod
    def probe(cls):
        raise OSError("the driver hung up")


class NamelessBackend(Backend):
    """It has no name."""

    xp = np


class BareBackend(Backend):
    """It has no xp."""

    name = "bare"


class ForgetfulBackend(Backend):
    """It has an __init__ that sets no xp."""

    name = "forgetful"

    def __init__(self):
        self.device = "none"


class OwnWayBackend(Backend):
    """It has operations with parameters of its own, and one that is no method."""

    name = "own_way"
    xp = np
    take = None

    def dense(self, x, weights, bias, activation="identity", out=None):
        return x

    def descent(self, parameter, gradient):
        parameter -= gradient


class EmptyHandedBackend(Backend):
    """It creates nothing."""

    name = "empty_handed"
    xp = np

    @classmethod
    def create(cls, device=None, threads=None):
        cls()
