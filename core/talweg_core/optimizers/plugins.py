"""Optimizers that other installed packages add, by the entry point `talweg.optimizers`."""

import warnings
from collections.abc import Collection
from importlib.metadata import EntryPoint, entry_points

from talweg_core.errors import EngineError
from talweg_core.optimizers.base import Optimizer


class UnusableOptimizer(UserWarning):
    """A package announces an optimizer that cannot be used; the others can."""


def load_installed(taken: Collection[str]) -> dict[str, type[Optimizer]]:
    """Each by its name, but for those that are broken or whose name is taken: those are warned of."""
    found: dict[str, type[Optimizer]] = {}
    for point in entry_points(group="talweg.optimizers"):
        try:
            kind = _checked(point, taken)
        except EngineError as error:
            warnings.warn(str(error), UnusableOptimizer, stacklevel=2)
        else:
            found[point.name] = kind
    return found


def _checked(point: EntryPoint, taken: Collection[str]) -> type[Optimizer]:
    """The class behind an entry point; raises EngineError, which names package, optimizer and rule."""
    what = f"optimizer {point.name} of {point.dist.name if point.dist else 'a package'}:"
    if point.name in taken:
        raise EngineError(f"{what} the name must not be one of Talweg's own")
    try:
        kind = point.load()
    # Anything may go wrong in another's module, and nobody else's optimizer should suffer from it.
    except Exception as error:
        raise EngineError(f"{what} {point.value} must be importable, got {type(error).__name__}: {error}") from error
    if not isinstance(kind, type) or not issubclass(kind, Optimizer):
        raise EngineError(f"{what} {point.value} must be a subclass of Optimizer, got {kind!r}")
    if kind.name != point.name:
        raise EngineError(f"{what} the class must have that name, got {kind.name!r}")
    return kind
