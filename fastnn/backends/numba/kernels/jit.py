"""How all of this is compiled: the options of the compiler, and what becomes of a kernel on disk.

Numba's cache is used with four changes. A kernel is looked up by the digest of all the code that
it may be made of (:mod:`fastnn.backends.numba.cache`), not of its own file alone. What cannot be
loaded, because it was cut off or damaged, is compiled again. Of processes that want a kernel at the
same time one compiles it. And where nothing can be written, kernels are compiled in each process,
with a warning.
"""

from __future__ import annotations

import gc
import hashlib
import logging
import mmap
import pickle
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from numba import njit
from numba.core import event, sigutils
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.serialize import dumps
from numba.core.types import unliteral
from numba.extending import overload

from ....errors import HostMemoryError
from ....interrupts import Interrupts
from ....notebooks import in_notebook, show_compilation
from ..cache import digest, discard_outdated, open_to_others
from ..locks import Lock

_log = logging.getLogger("fastnn.compilation")

#: a·b + c may become one fused operation, which only makes it more accurate. Nothing is reordered:
#: the argument reductions of `elementary` and the cancellation-free forms of the numerical gradient
#: depend on the order that is written.
FASTMATH = {"contract"}


class LibraryOfParts(JITCodeLibrary):
    """The code of a function that only compiled code calls: optimised and translated there alone.

    Numba would do both with each function by itself, and once more with each that it is a part of.
    """

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        return 0

    @property
    def codegen(self) -> Any:
        """What the environment of a function would be given to, if it were in the process."""
        return SimpleNamespace(set_env=lambda *_: None)


class _PartCompiler(Compiler):
    """Compiles such a function, up to what is linked into others."""

    def _compile_core(self) -> Any:
        state = self.state
        state.library = LibraryOfParts(state.targetctx.codegen(), state.func_id.func_qualname)
        return super()._compile_core()


#: No references to arrays are counted: whoever calls a kernel holds them as long as it runs. All
#: threads would count the same ones, and what counts them is a third of the code to be compiled.
_COMMON: Any = {"fastmath": FASTMATH, "error_model": "numpy", "_nrt": False}
#: Entry points for Python would take longer to compile than the functions.
_FOR_COMPILED_CODE: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_INTERNAL: Any = _FOR_COMPILED_CODE | {"pipeline_class": _PartCompiler}


def named(function: Any, suffix: Any) -> Any:
    """Give one of several functions of a factory a name of its own.

    Numba tells functions of one name and one signature apart by a number that each process counts
    for itself. Kernels from the cache, compiled in several processes, would have different
    functions under one symbol, and the linker takes the first for all.
    """
    function.__qualname__ += f"_{suffix}"
    return function


def _distinct(function: Any) -> Any:
    """Put what a closure is over into its name."""
    for cell in function.__closure__ or ():
        value = getattr(cell.cell_contents, "py_func", cell.cell_contents)
        named(function, value if isinstance(value, int | float | str) else value.__qualname__)
    return function


def _of_kinds(dispatcher: Any) -> Any:
    """Compile a function for the types of its arguments alone.

    Numba would compile it once more for each constant that it is called with.
    """
    of_constants = dispatcher.get_call_template

    def of_types(args: Any, kws: Any) -> Any:
        return of_constants(tuple(map(unliteral, args)), {k: unliteral(t) for k, t in kws.items()})

    dispatcher.get_call_template = of_types
    return dispatcher


def inner(function: Any) -> Any:
    """Compile what only compiled code calls."""
    return _of_kinds(njit(**_COMMON, **_INTERNAL)(_distinct(function)))


#: Of elementary functions: a loop with a call in it would not be vectorised.
inlined: Any = njit(**_COMMON, **_INTERNAL, forceinline=True)

#: Of sums whose order does not matter.
reduction: Any = njit(**_COMMON | {"fastmath": FASTMATH | {"reassoc"}}, **_INTERNAL)


def overloads(function: Any) -> Any:
    """Decorate what returns, for the types of the arguments, how compiled code does `function`.

    The options are those of the code that calls it.
    """
    return overload(function, jit_options=_INTERNAL)


#: Twice what the compiler takes for a kernel at most; other threads may want memory meanwhile.
COMPILER_MEMORY = 256 * 2**20


def check_memory() -> None:
    """Raise HostMemoryError where there is no memory to compile or load a kernel.

    LLVM ends the process where it gets none.
    """
    try:
        mmap.mmap(-1, COMPILER_MEMORY).close()
    except (OSError, MemoryError) as error:
        raise HostMemoryError(
            f"there are no {COMPILER_MEMORY >> 20} MiB of memory for the compiler of kernels; "
            "raise the limit of the process (ulimit -v), or use the backend 'numpy'"
        ) from error


def kernel(function: Any) -> Any:
    """Compile what Python calls: kept on disk, and letting other Python threads run meanwhile."""
    return _kept(njit(**_COMMON, nogil=True)(_distinct(function)))


def allocating_kernel(function: Any) -> Any:
    """Compile such a kernel that makes arrays of its own, which are gone when it returns."""
    return _kept(njit(**_COMMON | {"_nrt": True}, nogil=True)(_distinct(function)))


def separate(function: Any) -> Any:
    """Compile what kernels call by its address: kept on disk as they are (:mod:`.pointers`)."""
    return _kept(njit(**_COMMON, **_FOR_COMPILED_CODE)(_distinct(function)))


#: What is kept on disk, by module and name.
KEPT: dict[tuple[str, str], Any] = {}


def _kept(dispatcher: Any) -> Any:
    """Keep on disk what is compiled."""
    KEPT[dispatcher.py_func.__module__, dispatcher.py_func.__qualname__] = dispatcher
    try:
        dispatcher._cache = KernelCache(dispatcher.py_func)
    except RuntimeError as error:  # "no locator available": no folder can be written
        _log.debug("%s", error)
        _warn_of_no_cache()
    return dispatcher


@cache  # once a process
def _warn_of_no_cache() -> None:
    message = (
        "compiled kernels cannot be kept on disk, so that each process compiles them anew for some"
        " seconds; NUMBA_CACHE_DIR can name a folder that is writable"
    )
    warnings.warn(message, RuntimeWarning, stacklevel=2)


@cache
def _warn_of_others(place: Path) -> None:
    message = (
        f"other users can write to {place}, where compiled kernels are kept, and so run code here;"
        f" chmod o-w {place}, or let NUMBA_CACHE_DIR name a folder of your own"
    )
    warnings.warn(message, RuntimeWarning, stacklevel=2)


class _Checked(CompileResultCacheImpl):
    """Compiled code with a checksum: a damaged page of machine code would otherwise be executed."""

    def reduce(self, cres: Any) -> tuple[bytes, bytes]:
        data = dumps(super().reduce(cres))
        return hashlib.blake2b(data).digest(), data

    def rebuild(self, target_context: Any, reduced_data: tuple[bytes, bytes]) -> Any:
        checksum, data = reduced_data
        if hashlib.blake2b(data).digest() != checksum:
            raise ValueError("the checksum differs")
        return super().rebuild(target_context, pickle.loads(data))


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let Ctrl-C wait: what its handler raises in a callback of LLVM's is printed and forgotten."""
    interrupts = Interrupts()
    try:
        with interrupts:
            yield
    finally:
        interrupts.pass_on()


class OtherProcessError(Exception):
    """Another process is compiling a kernel."""


class _OfThread(threading.local):
    leaves_to_others = False


_of_thread = _OfThread()


@contextmanager
def leaving_to_others() -> Iterator[None]:
    """Raise OtherProcessError where a kernel is being compiled by another process, which ends it.

    Elsewhere this one waits for it.
    """
    _of_thread.leaves_to_others = True
    try:
        yield
    finally:
        _of_thread.leaves_to_others = False


class KernelCache(FunctionCache):
    """The files of one kernel, in which what cannot be used counts as not found.

    From when something is not found until it is saved, other processes wait for it.
    """

    _impl_class = _Checked

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        if (place := open_to_others(self.cache_path)) is not None:
            _warn_of_others(place)
        discard_outdated(self.cache_path)
        self._lock: Lock | None = None

    def _index_key(self, sig: Any, codegen: Any) -> tuple:
        # What a closure is over is in its name: of a compiled function Numba's key would differ
        # from process to process.
        code = hashlib.blake2b(self._py_func.__code__.co_code).hexdigest()
        return sig, codegen.magic_tuple(), self._py_func.__qualname__, code, digest()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = self._load(sig, target_context)
        if found is None:
            key = self._index_key(sig, target_context.codegen())
            self._lock = Lock(self.cache_path, (self._impl.filename_base, key))
            if not self._lock.take():
                if _of_thread.leaves_to_others:
                    self._lock = None
                    raise OtherProcessError
                tell()
                self._lock.wait()
            if (found := self._load(sig, target_context)) is not None:
                self.release()
        return found

    def release(self) -> None:
        """Let other processes compile what this one has not."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _load(self, sig: Any, target_context: Any) -> Any:
        check_memory()
        try:
            with _without_interrupts():
                found = super().load_overload(sig, target_context)
            # Where there are no locks, two processes that save for different types at once may take
            # the same file for both.
            if found is None or found.signature.args == sigutils.normalize_signature(sig)[0]:
                return found
            raise ValueError("it is for other types")
        except Exception as error:  # unpickling damaged data may raise any
            _log.debug("%r on disk is damaged and is compiled again: %r", self, error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            with _without_interrupts(), Lock(self.cache_path, self._impl.filename_base):
                self._save(sig, data)
        finally:
            self.release()

    def _save(self, sig: Any, data: Any) -> None:
        try:
            try:
                super().save_overload(sig, data)
            except Exception:
                # The index is damaged, which lists the types a kernel was compiled for.
                self.flush()
                super().save_overload(sig, data)
        except OSError as error:  # a full disk, or a folder that was made read-only
            _log.debug("%r cannot be written: %r", self, error)
            _warn_of_no_cache()


def cache_of(dispatcher: Any) -> KernelCache | None:
    """The files of a kernel; None if it is another function, of whoever's."""
    found = getattr(dispatcher, "_cache", None)
    return found if isinstance(found, KernelCache) else None


class _SeldomCollections:
    """A context of any number of threads in which Python searches more seldom for cycles.

    A compiler makes hundreds of thousands of objects, which live as long as it works; to search
    them again and again takes a tenth of its time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._usual = gc.get_threshold()
                if self._usual[0]:  # 0 is never
                    gc.set_threshold(max(self._usual[0], 100_000), *self._usual[1:])
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                gc.set_threshold(*self._usual)


@cache  # once a process
def tell() -> None:
    """Log that kernels are being compiled, by this process or another that it waits for."""
    _log.info(
        "compiling kernels for this machine, which takes some seconds; Numba keeps them for the"
        " next time"
    )


class _CompilationListener(event.Listener):
    """Logs that kernels are being compiled: it takes seconds on a new machine.

    And sees to it that there is memory for that, that Ctrl-C waits meanwhile, and that it is not
    held up.
    """

    def __init__(self) -> None:
        self._of_thread = threading.local()
        self._collections = _SeldomCollections()

    def on_start(self, event: Any) -> None:
        module = event.data["dispatcher"].py_func.__module__  # None of what exec() has defined
        ours = (module or "").startswith("fastnn.")
        if ours:
            check_memory()
            tell()
        # One for each function that is being compiled for another one. Last, as after an error
        # here there is no end.
        contexts = ExitStack()
        contexts.enter_context(_without_interrupts())
        if ours:
            contexts.enter_context(self._collections)
        vars(self._of_thread).setdefault("contexts", []).append(contexts)

    def on_end(self, event: Any) -> None:
        self._of_thread.contexts.pop().close()
        dispatcher, types = event.data["dispatcher"], tuple(event.data["args"])
        if (cache := cache_of(dispatcher)) is not None and types not in dispatcher.overloads:
            cache.release()  # it could not be compiled


event.register("numba:compile", _CompilationListener())
if in_notebook():
    show_compilation()
