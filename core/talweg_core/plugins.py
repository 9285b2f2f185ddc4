"""Optimizers and problems of installed packages, by entry point: a broken one is left out and affects no other."""

import warnings
from collections.abc import Callable, Collection
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from talweg_core.errors import EngineError


class UnusablePlugin(UserWarning):
    """An installed package declares an optimizer or a problem that cannot be used; the catalogue leaves it out."""


def installed(noun: str, taken: Collection[str], fault: Callable[[str, Any], str | None]) -> dict[str, Any]:
    """What installed packages declare in the group `talweg.<noun>s`, by name.

    Warns of each that cannot be imported, whose name is in `taken`, or in which `fault` finds one.

    Args:
        noun: "optimizer" or "problem".
        taken: Talweg's own names.
        fault: gets the name and the value; returns the rule that it breaks, None where it breaks none.
    """
    found = {}
    for point in entry_points(group=f"talweg.{noun}s"):
        try:
            found[point.name] = _checked(noun, point, taken, fault)
        except EngineError as error:
            warnings.warn(str(error), UnusablePlugin, stacklevel=2)
    return found


def _checked(noun: str, point: EntryPoint, taken: Collection[str], fault: Callable[[str, Any], str | None]) -> Any:
    """The value behind an entry point; raises EngineError, which names package, entry and rule."""
    what = f"{noun} {point.name} of {point.dist.name if point.dist else 'a package'}:"
    if point.name in taken:
        raise EngineError(f"{what} the name must not be one of Talweg's own")
    try:
        value = point.load()
    # The module may raise anything, which must not affect the others.
    except Exception as error:
        raise EngineError(f"{what} {point.value} must be importable, got {type(error).__name__}: {error}") from error
    broken = fault(point.name, value)
    if broken is not None:
        raise EngineError(f"{what} {point.value} {broken}")
    return value
