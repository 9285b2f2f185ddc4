"""Compiled kernels: cached on disk, without the interpreter's lock, in strict IEEE arithmetic.

No kernel of the training path is compiled with fast-math: with it, the order of a sum, and so a run's bits, would
depend on the compiler.
"""

import hashlib
import inspect
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
from numba.core.caching import FunctionCache

try:
    import fcntl
except ImportError:  # Windows, where each process compiles for itself
    fcntl = None  # type: ignore[assignment]

Kernel = Callable[..., Any]

# Seconds. Compiling a kernel takes about one; after this time, a process that compiles counts as stopped.
_LONGEST_WAIT = 60.0


def kernel(function: Callable[..., Any]) -> Kernel:
    """The compiled function, cached on disk where a folder for the cache can be written."""
    return _compiled(function)


def summing_kernel(function: Callable[..., Any]) -> Kernel:
    """The same for sums that are only reported (norms): sums may be reordered, multiply and add may be fused."""
    return _compiled(function, fastmath={"reassoc", "nsz", "contract"})


def _compiled(function: Callable[..., Any], **options: Any) -> Kernel:
    made: Any = numba.njit(nogil=True, error_model="numpy", **options)(function)
    try:
        # In __pycache__ next to the source; where that is read-only, in the user's cache. NUMBA_CACHE_DIR overrides
        # both.
        own = _OnceCache(function)
    except RuntimeError:
        # No folder can be written, or the function has no source file, as when it is typed at a prompt.
        return made  # type: ignore[no-any-return]
    compile_it = made.compile

    def compile_once(signature: Any) -> Any:
        try:
            return compile_it(signature)
        finally:
            own.release()

    # `cache=True` sets these attributes; Numba has no option for another cache.
    made._cache, made.compile = own, compile_once
    return made  # type: ignore[no-any-return]


@cache
def engine_digest() -> str:
    """SHA-256 over every source file of the engine, in hex."""
    found = hashlib.sha256()
    folder = Path(__file__).parent
    for path in sorted(folder.rglob("*.py")):
        found.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()


class _OnceCache(FunctionCache):
    """Numba's cache, in which a process waits for a kernel that another process compiles.

    Without the wait, processes that start together on a new machine each compile every kernel, and two processes that
    save kernels of one function at the same time lose one of them. While a kernel is compiled, a lock file for its
    function exists in the cache folder.

    A kernel is compiled again when any file of the engine changes. Numba itself checks the function's own file alone,
    although functions of other files are compiled into it: after an upgrade it would run their old code.
    """

    _lock: int | None = None

    def __init__(self, function: Kernel) -> None:
        """Raises RuntimeError where no cache folder can be written or the function has no source file."""
        super().__init__(function)  # type: ignore[no-untyped-call]
        self._cache_file._source_stamp = (self._cache_file._source_stamp, engine_digest())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The cached kernel; or None, and this process must compile it: it then holds the lock until `release`."""
        found = super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        if found is None and self._lock is None and self._acquire():
            found = super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        return found

    def release(self) -> None:
        """Release the lock, if this process holds it."""
        if self._lock is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    @property
    def _path(self) -> Path:
        return Path(self._cache_path) / f"{self._impl.filename_base}.lock"

    def _acquire(self) -> bool:
        """Take the lock; returns whether another process held it and so may have saved the kernel."""
        waited, deadline = False, time.monotonic() + _LONGEST_WAIT
        try:
            self._impl.locator.ensure_cache_path()
            while fcntl is not None and time.monotonic() < deadline:
                lock = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if os.path.samestat(os.fstat(lock), self._path.stat()):
                        self._lock = lock
                        return waited
                except (BlockingIOError, FileNotFoundError):
                    # Another process holds it, or has just removed it.
                    time.sleep(0.02)
                finally:
                    if self._lock is None:
                        os.close(lock)
                waited = True
        except OSError:
            # A read-only folder, or a file system without locks: each process compiles for itself.
            pass
        return waited


# Compile a scalar function that kernels call; the compiler inlines it.
scalar: Callable[[Callable[..., Any]], Kernel] = numba.njit(error_model="numpy")


_UNCOMPILED = ContextVar("uncompiled", default=False)


@contextmanager
def uncompiled() -> Iterator[None]:
    """A context in which `ready` compiles nothing; a kernel is then compiled at its first call."""
    token = _UNCOMPILED.set(True)
    try:
        yield
    finally:
        _UNCOMPILED.reset(token)


def ready(compiled: Kernel, *arguments: Any, integers: int = 0) -> Callable[..., Any]:
    """The kernel with these arguments bound, for a call made at every step.

    The call itself passes `integers` further arguments, all integers.

    The kernel is compiled or loaded now, for the arguments' types. A call then takes half the time of one in which
    Numba determines the types.
    """
    if _UNCOMPILED.get():
        return partial(compiled, *arguments)
    entry = compiled.compile(tuple(numba.typeof(argument) for argument in (*arguments, *range(integers))))  # type: ignore[attr-defined,no-untyped-call]  # Numba has no types
    return partial(entry, *arguments)


@cache
def specialise(template: Callable[..., Any], **functions: Callable[..., Any]) -> Kernel:
    """A compiled copy of `template` in which these global names are bound to these scalar functions.

    Numba caches neither closures over compiled functions nor functions passed as arguments. The copy's file name is
    that of its first function, so that it is cached, and compiled again when that file changes. The copy's name
    contains a digest of the template, so that it is also compiled again when the template changes.
    """
    assert isinstance(template, FunctionType)
    main = next(iter(functions.values()))
    digest = hashlib.sha256(template.__code__.co_code + repr(template.__code__.co_consts).encode()).hexdigest()
    name = f"{template.__name__}_{main.__qualname__.replace('.', '_')}_{digest[:8]}"
    code = template.__code__.replace(co_filename=inspect.getfile(main), co_name=name, co_qualname=name)
    compiled = {role: scalar(function) for role, function in functions.items()}
    copy = FunctionType(code, template.__globals__ | compiled, name)
    copy.__module__ = main.__module__
    return kernel(copy)
