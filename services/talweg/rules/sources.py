"""Users' own optimizers: store their sources, and load classes from stored sources. In a local laboratory only.

A source is Python code that the API and the workers execute. So it never arrives in a request: a client on the same
machine writes it into a folder of the local stack, which only the user can write, and the request has its name. The
name holds the start of the source's digest. A shared laboratory has no such folder: there an administrator installs
optimizers as packages (entry point `talweg.optimizers`).
"""

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from talweg.datasets.sources import served
from talweg.errors import CorruptRecord, InvalidSpec, NotFound
from talweg.libraries import adapted
from talweg.settings import settings
from talweg.spec import OptimizerSpec
from talweg.store import Store
from talweg_core import optimizers
from talweg_core.errors import EngineError
from talweg_core.optimizers import Optimizer
from talweg_core.optimizers.brought import load
from talweg_core.optimizers.source import digest_of, name_of

_NAME: Final = re.compile(r"(?P<word>[a-z_][a-z0-9_]*)@[0-9a-f]{6}")
# A module of a thousand long lines.
MAXIMUM_BYTES: Final = 200_000


def is_own(name: str) -> bool:
    """Whether the name is of a user's own optimizer, such as mine@3f2a91."""
    return "@" in name


def with_sources(store: Store, specs: Sequence[OptimizerSpec], folder: Path | None) -> None:
    """Store the source of each user's own optimizer that the specs name, from the local stack's `folder`.

    Raises:
        InvalidSpec: There is no source of that name, it breaks the contract, or this laboratory is shared (no folder).
        Conflict: The name belongs to another source.
    """
    for name in dict.fromkeys(spec.name for spec in specs if is_own(spec.name)):
        if folder is None:
            raise InvalidSpec(_shared(name))
        try:
            store.rule_source(name)
        except NotFound:
            source = _read(name, folder)
            try:
                adapted(load(source, name), name)
            except EngineError as error:
                raise InvalidSpec(f"optimizer {name}: {error}") from error
            store.add_rule(name, digest_of(source), source)


@lru_cache(maxsize=256)
def stored(name: str) -> type[Optimizer]:
    """The class of a stored source.

    Raises:
        InvalidSpec: This process loads no sources, or no open store has one of that name.
        CorruptRecord: The source does not have the digest.
        UnusableRule: It cannot be imported here.
    """
    if settings().rules is None:
        raise InvalidSpec(_shared(name))
    for store in served():
        try:
            digest, source = store.rule_source(name)
        except NotFound:
            continue
        if digest_of(source) != digest:
            raise CorruptRecord(f"optimizer {name}: its source must have the digest {digest}, got {digest_of(source)}")
        return adapted(load(source, name), name)
    raise InvalidSpec(f"optimizer: no source is stored for {name!r}; submit the class itself, or FILE.py:CLASS")


def _read(name: str, folder: Path) -> str:
    """The source that a client put into the folder; raises InvalidSpec where it is missing or not of that name."""
    match = _NAME.fullmatch(name)
    path = folder / f"{name}.py"
    # A path in the name must not leave the folder, and no other user's file is executed.
    if match is None or not path.is_file() or path.is_symlink() or path.stat().st_uid != os.geteuid():
        raise InvalidSpec(f"optimizer: no source is stored for {name!r}; submit the class itself, or FILE.py:CLASS")
    if (size := path.stat().st_size) > MAXIMUM_BYTES:
        raise InvalidSpec(f"optimizer {name}: its source may have at most {MAXIMUM_BYTES} bytes, got {size}")
    source = path.read_text(encoding="utf-8")
    if name_of(source) != name:
        raise InvalidSpec(f"optimizer {name}: the source in {path.name} must have this name, got {name_of(source)}")
    if match["word"] in optimizers.names():
        raise InvalidSpec(f"optimizer {name}: {match['word']} is one of Talweg's own names; rename the class")
    return source


def _shared(name: str) -> str:
    return (
        f"optimizer {name}: a shared laboratory takes no source code; an administrator installs the optimizer where "
        "the workers and the API run, as a package with the entry point talweg.optimizers (examples/own_optimizer)"
    )
