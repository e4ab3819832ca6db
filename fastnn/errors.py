"""Every error that fastnn raises on purpose.

All of them derive from :class:`FastnnError`, and each also derives from the built-in exception that
a caller would expect, so that ``except ValueError`` in an existing script goes on working. The
message names the value at fault and the fix, in one line of at most :data:`LONGEST` characters.
"""

#: The longest message: whatever it quotes, such as a path or the error of another library, is cut.
LONGEST = 300


def one_line(text: str, longest: int = LONGEST) -> str:
    r"""`text` without line breaks and, if it is too long, without its middle.

    >>> one_line("one\ntwo"), one_line("1234567890", 6)
    ('one two', '123…90')
    """
    text = "".join(c if c.isprintable() else " " for c in " ".join(text.splitlines()))
    if len(text) <= longest:
        return text
    end = (longest - 1) // 2  # with the fix in it
    return f"{text[: longest - 1 - end]}…{text[-end:]}"


class FastnnError(Exception):
    """Base of all errors that fastnn raises on purpose."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class InputError(FastnnError, ValueError):
    """An argument has the right type but an impossible value, shape or range."""


class DtypeError(FastnnError, TypeError):
    """An array or argument is of a type that the operation cannot take."""


class ExtraNotInstalledError(FastnnError, ImportError):
    """A part of fastnn needs a library that is not installed; the message names the extra."""


class DataFileError(FastnnError, OSError):
    """A data file is missing, truncated, altered or not in the expected format."""


class CheckpointError(FastnnError, OSError):
    """A file of a network or a training cannot be written, or is not one that can be read.

    It is missing, truncated, altered, of another program or of another version of the format; what
    was at that path before a failed attempt to write there is untouched.
    """


# MemoryError is the first of the bases, as it has a `__new__` of its own, which refuses to be
# called for a class that is derived from it by another one.
class HostMemoryError(MemoryError, FastnnError):
    """The memory of the machine does not hold what was asked for."""


class DivergenceError(FastnnError, ArithmeticError):
    """Values ceased to be finite while training or descending."""


class ClusterError(FastnnError, RuntimeError):
    """A cluster cannot go on: its scheduler, all of its workers, or some of the data are lost."""


class BackendError(FastnnError):
    """Base of the errors about choosing and reaching a backend."""


class UnknownBackendError(BackendError, ValueError):
    """No backend of this name is registered."""


class BackendNotInstalledError(BackendError, ImportError):
    """The backend is registered, but the library it needs is not installed."""


class BackendImportError(BackendError, ImportError):
    """The library that the backend needs is installed, but importing it failed.

    The cause is chained.
    """


class DeviceError(BackendError, RuntimeError):
    """The backend imports, but there is no device (or not this one) to run on."""


class DeviceMemoryError(MemoryError, BackendError):
    """The memory of the device is exhausted."""


class ForeignArrayError(BackendError, TypeError):
    """An array of another library, or another device, reached an operation of this backend."""
