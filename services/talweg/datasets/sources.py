"""Where a spec's dataset is found again: in the stores that this process has open, by digest.

A digest decides the bytes, so it does not matter which store they come from; a name is looked up once, in the store
that the spec is handed in to, and the digest written beside it.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import TypeVar
from weakref import WeakSet

from talweg.datasets.unpacking import unpack
from talweg.errors import CorruptRecord, InvalidSpec, NotFound, TalwegError
from talweg.spec import ProblemSpec, RunSpec, StudySpec
from talweg.store import Store
from talweg_core.data import Dataset
from talweg_core.errors import UnknownName
from talweg_core.problems import bundled

_stores: WeakSet[Store] = WeakSet()

S = TypeVar("S", RunSpec, StudySpec)


def serve(store: Store) -> None:
    """Let this process find datasets in `store`; asking again changes nothing."""
    _stores.add(store)


def with_digest(store: Store, spec: S) -> S:
    """The spec with its datasets' digests beside their names, where it names uploaded ones.

    Raises:
        InvalidSpec: there is no dataset of that name, or the digest that is given belongs to another.
    """
    serve(store)
    update: dict[str, object] = {}
    if spec.problem is not None:
        update["problem"] = _named(store, spec.problem)
    if isinstance(spec, StudySpec):
        update["problems"] = [own.model_copy(update={"problem": _named(store, own.problem)}) for own in spec.problems]
    return spec.model_copy(update=update)


def _named(store: Store, problem: ProblemSpec) -> ProblemSpec:
    settings = problem.settings
    name = settings.get("dataset")
    if problem.name is not None or not isinstance(name, str):
        return problem
    if name in bundled.NAMES:
        if "digest" in settings:
            raise InvalidSpec(f"digest: {name} comes with Talweg and takes none, got {str(settings['digest'])[:80]!r}")
        return problem
    try:
        row = store.dataset(str(settings.get("digest", name)))
    except NotFound:
        valid = [*bundled.NAMES, *(row.name for row in store.datasets())]
        raise InvalidSpec(str(UnknownName("dataset", name, valid))) from None
    if row.name != name:
        raise InvalidSpec(f"dataset: {name!r} must have the digest of {row.name!r} to go with it, got {row.digest}")
    return problem.model_copy(update={"digest": row.digest})


def loader(digest: str | None) -> Callable[[str], Dataset]:
    """What gives the engine a dataset by its name: a bundled one, or that of the digest."""
    if digest is None:
        return bundled.load
    return lambda name: replace(_load(digest), name=name)


# Data is shared by the problems that are made of it.
@lru_cache(maxsize=4)
def _load(digest: str) -> Dataset:
    trouble: TalwegError | None = None
    for store in list(_stores):
        try:
            row = store.dataset(digest)
            return unpack(row.name, digest, row.size, store.dataset_payload(digest))
        except NotFound:
            continue
        except CorruptRecord:
            raise
        except TalwegError as error:
            trouble = error
    raise trouble or NotFound(f"dataset {digest}: is in no laboratory that this process has open")
