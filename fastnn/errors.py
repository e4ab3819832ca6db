"""Every error that fastnn raises on purpose.

All of them derive from :class:`FastnnError`, and each also derives from the built-in exception that
a caller would expect, so that ``except ValueError`` in an existing script goes on working. The
message names the value at fault and the fix.
"""


class FastnnError(Exception):
    """Base of all errors that fastnn raises on purpose."""


class InputError(FastnnError, ValueError):
    """An argument has the right type but an impossible value, shape or range."""


class DtypeError(FastnnError, TypeError):
    """An array or argument is of a type that the operation cannot take."""


class DataFileError(FastnnError, OSError):
    """A data file is missing, truncated, altered or not in the expected format."""


class DivergenceError(FastnnError, ArithmeticError):
    """Values ceased to be finite while training or descending."""


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


class DeviceMemoryError(BackendError, MemoryError):
    """The memory of the device is exhausted."""


class ForeignArrayError(BackendError, TypeError):
    """An array of another library, or another device, reached an operation of this backend."""
