"""Optimizers of the user's own in a spec: a class, or FILE.py:CLASS, becomes the name of its stored source."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from talweg.client.wire import Wire
from talweg.errors import InvalidSpec

Json = dict[str, Any]
_FILE = re.compile(r"(?P<path>.+\.py):(?P<entry>[A-Za-z_]\w*)")


def replaced(wire: Wire, keywords: Mapping[str, Any]) -> Json:
    """The keywords of a submission with own optimizers replaced by names; their sources are put into the laboratory.

    Raises:
        InvalidSpec: A class breaks the contract, its source cannot be stored alone, or the laboratory is not local.
    """
    found = dict(keywords)
    if "optimizer" in found:
        found["optimizer"] = _named(wire, found["optimizer"])
    several = found.get("optimizers")
    if isinstance(several, Collection) and not isinstance(several, str | Mapping):
        found["optimizers"] = [_named(wire, one) for one in several]
    return found


def with_own(wire: Wire, spec: object) -> object:
    """A spec with its own optimizers replaced: a dict, or a model that was read from a file; None stays None."""
    if isinstance(spec, BaseModel):
        spec = {key: value for key, value in spec.model_dump(mode="json").items() if key in spec.model_fields_set}
    return replaced(wire, spec) if isinstance(spec, Mapping) else spec


def hyperparameters_of_own(name: str) -> list[str] | None:
    """The hyperparameters of an own optimizer that this process has put into a laboratory; None for others."""
    return _KNOWN.get(name)


_KNOWN: dict[str, list[str]] = {}


def _named(wire: Wire, optimizer: object) -> object:
    if isinstance(optimizer, BaseModel):
        optimizer = optimizer.model_dump(mode="json")
    name = optimizer.get("name") if isinstance(optimizer, Mapping) else optimizer
    source = _source(name)
    if source is None:
        return optimizer
    rest = {key: value for key, value in optimizer.items() if key != "name"} if isinstance(optimizer, Mapping) else {}
    return {"name": _put(wire, source, getattr(name, "__name__", str(name)))} | rest


def file_and_class(text: str) -> tuple[Path, str] | None:
    """Path and class of FILE.py:CLASS; None for other texts."""
    match = _FILE.fullmatch(text)
    return None if match is None else (Path(match["path"]).expanduser(), match["entry"])


def _source(name: object) -> str | None:
    """The source of a class, a function or FILE.py:CLASS; None for an optimizer's name."""
    from talweg_core.errors import EngineError
    from talweg_core.optimizers.source import source_in_file, source_of

    try:
        if isinstance(name, type) or (callable(name) and hasattr(name, "__code__")):
            return source_of(name)
        found = file_and_class(name) if isinstance(name, str) else None
        return None if found is None else source_in_file(*found)
    except EngineError as error:
        raise InvalidSpec(str(error)) from error


def _put(wire: Wire, source: str, shown: str) -> str:
    """Check the source here, then write it into the folder of the local stack; returns the rule's name."""
    from talweg.libraries import adapted
    from talweg_core.errors import EngineError
    from talweg_core.optimizers import names
    from talweg_core.optimizers.brought import load, try_out
    from talweg_core.optimizers.source import name_of

    if wire.home is None:
        raise InvalidSpec(
            f"{shown}: code goes to a local laboratory only, Lab() or talweg up; for {wire.url} an administrator "
            "installs it as a package with the entry point talweg.optimizers (examples/own_optimizer)"
        )
    from talweg.local.folder import Folder, write_private

    name = name_of(source)
    word = name.partition("@")[0]
    if re.fullmatch(r"[a-z_][a-z0-9_]*", word) is None:
        raise InvalidSpec(f"{shown}: its name must be lower-case letters, digits and _, got {word!r}")
    if word in names():
        raise InvalidSpec(f"{shown}: {word} is one of Talweg's own names; rename the class, or set another name in it")
    path = Folder.of(wire.home).rules / f"{name}.py"
    try:
        kind = adapted(load(source, name), name)
        # A source that is there was tried before.
        if not path.exists():
            try_out(kind)
    except EngineError as error:
        raise InvalidSpec(str(error)) from error
    _KNOWN[name] = [field.name for field in kind.ranged()]
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write_private(path, source)
    return name
