"""Parse uploads in a separate process with limits; load datasets by name or digest."""

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import IO, Any, Final, TypeVar
from weakref import WeakSet

from talweg.datasets.automatic import filled
from talweg.datasets.options import Options
from talweg.datasets.unpacking import unpack
from talweg.errors import CorruptRecord, InvalidSpec, LimitReached, NotFound, TalwegError, TooLarge, from_code
from talweg.spec import ProblemSpec, RunSpec, StudySpec
from talweg.store import Store
from talweg_core.data import Dataset
from talweg_core.errors import UnknownName
from talweg_core.problems import bundled

# One parser at a time: each may take several hundred megabytes.
_PARSER_LOCK: Final = threading.Lock()
_LOCK_SECONDS: Final = 60.0
_ENVIRONMENT: Final = {
    "PYTHONSAFEPATH": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "ARROW_NUM_THREADS": "1",
}
_stores: WeakSet[Store] = WeakSet()

S = TypeVar("S", RunSpec, StudySpec)


@dataclass(frozen=True)
class Parsed:
    """A dataset ready to store; `payload` unpacks to `size` bytes with this digest."""

    digest: str
    kind: str
    shape: dict[str, Any]
    size: int
    payload: bytes


def parse(file: IO[bytes], options: Options, seconds: float) -> Parsed:
    """Parse an open file, which must have a file descriptor, in a separate process.

    Raises:
        InvalidSpec: The file breaks a rule, which the message names.
        TooLarge: It needs more bytes, memory or time than allowed.
        LimitReached: Another upload was being parsed for 60 s.
    """
    if not _PARSER_LOCK.acquire(timeout=_LOCK_SECONDS):
        busy = LimitReached("datasets: another upload is being read; send this one again later")
        busy.retry_after = _LOCK_SECONDS
        raise busy
    try:
        with tempfile.TemporaryFile() as made:
            answer = _run_parser(file, options, seconds, made)
            if "code" in answer:
                raise from_code(str(answer["code"]), str(answer["message"]))
            made.seek(0)
            return Parsed(answer["digest"], answer["kind"], answer["shape"], answer["size"], made.read())
    finally:
        _PARSER_LOCK.release()


def _run_parser(file: IO[bytes], options: Options, seconds: float, made: IO[bytes]) -> dict[str, Any]:
    file.flush()
    file.seek(0)
    try:
        # Options in a file: names of columns may be longer than an argument can be.
        with tempfile.TemporaryFile() as given:
            given.write(json.dumps(asdict(options) | {"out": made.fileno(), "seconds": seconds}).encode())
            given.seek(0)
            done = subprocess.run(  # noqa: S603 - this interpreter, without a shell
                [sys.executable, "-m", "talweg.datasets.parser_process", str(given.fileno())],
                stdin=file,
                capture_output=True,
                pass_fds=(made.fileno(), given.fileno()),
                timeout=seconds,
                # No secret, no proxy, no variable of the user: an attacker who takes over the parser finds none.
                env=_ENVIRONMENT,
                cwd="/",
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise TooLarge(f"dataset: reading it takes longer than {seconds:g} s") from None
    if done.returncode < 0 or b"MemoryError" in done.stderr or b"bad_alloc" in done.stderr:
        raise TooLarge("dataset: reading it takes more memory or time than allowed")
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
        raise TalwegError(f"dataset: the parser failed with status {done.returncode}: {last}") from None
    if answer.get("code") not in (None, InvalidSpec.code, TooLarge.code):
        raise TalwegError("dataset: the parser failed")
    return answer


def serve(store: Store) -> None:
    """Let this process load datasets from `store`; a second call changes nothing."""
    _stores.add(store)


def served() -> list[Store]:
    """The stores that `serve` was called with and that still exist."""
    return list(_stores)


def with_digest(store: Store, spec: S) -> S:
    """The spec with the digest of each uploaded dataset that it names; calls `serve`.

    Raises:
        InvalidSpec: There is no dataset of that name, or the given digest belongs to another.
    """
    serve(store)
    update: dict[str, object] = {}
    if spec.problem is not None:
        update["problem"] = _named(store, spec.problem)
    if isinstance(spec, StudySpec):
        update["problems"] = [own.model_copy(update={"problem": _named(store, own.problem)}) for own in spec.problems]
    return spec.model_copy(update=update)


def _named(store: Store, problem: ProblemSpec) -> ProblemSpec:
    """The problem with the digest of its dataset, and the network and cost where they are left to the laboratory."""
    settings = problem.settings
    name = settings.get("dataset")
    if problem.name is not None or not isinstance(name, str):
        return problem
    if name in bundled.NAMES:
        if "digest" in settings:
            raise InvalidSpec(
                f"digest: must be left out for {name}, which comes with Talweg, got {str(settings['digest'])[:80]!r}"
            )
        return filled(problem, lambda: bundled.load(name))
    digest = settings.get("digest")
    try:
        row = store.dataset(name, digest if digest is None else str(digest))
    except NotFound:
        valid = [*bundled.NAMES, *(row.name for row in store.datasets())]
        if digest is None or name not in valid:
            raise InvalidSpec(str(UnknownName("dataset", name, valid))) from None
        raise InvalidSpec(f"digest: must be that of a version of {name!r}, got {str(digest)[:80]!r}") from None
    return filled(problem.model_copy(update={"digest": row.digest}), lambda: _load(row.digest))


def loader(digest: str | None) -> Callable[[str], Dataset]:
    """A function that returns a dataset by name: a bundled dataset, or the dataset with this digest."""
    if digest is None:
        return bundled.load
    return lambda name: replace(_load(digest), name=name)


# Problems of the same dataset share its arrays.
@lru_cache(maxsize=4)
def _load(digest: str) -> Dataset:
    failure: TalwegError | None = None
    for store in list(_stores):
        try:
            row = store.dataset(digest)
            return unpack(row.name, digest, row.size, store.dataset_payload(digest))
        except NotFound:
            continue
        except CorruptRecord:
            raise
        except TalwegError as error:
            failure = error
    raise failure or NotFound(f"dataset {digest}: must be in a laboratory that this process has open, got none")
