"""What probing a backend found."""

from __future__ import annotations

from typing import NamedTuple

from ..errors import BackendError


class Availability(NamedTuple):
    """Whether a backend can run here, on what, and if not, why and what to do about it."""

    available: bool
    device: str = ""
    reason: str = ""
    remedy: str = ""
    #: What `get_backend` raises when the backend is not available.
    error: BackendError | None = None

    @classmethod
    def refused(
        cls, error: type[BackendError], reason: str, remedy: str, cause: BaseException | None = None
    ) -> Availability:
        """A backend that cannot run here; `get_backend` raises `error`, which says what to do."""
        instance = error(f"{reason}; {remedy}")
        instance.__cause__ = cause
        return cls(False, "", reason, remedy, instance)
