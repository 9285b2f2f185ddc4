"""The catalogue of optimizers."""

import dataclasses
from importlib.metadata import entry_points
from typing import Any

from talweg_core.errors import InvalidHyperparameter, UnknownName
from talweg_core.optimizers.adam import Adam
from talweg_core.optimizers.adamw import AdamW
from talweg_core.optimizers.base import BoundOptimizer, Hyperparameters, Optimizer
from talweg_core.optimizers.coordinate import CoordinateOptimizer
from talweg_core.optimizers.momentum import Momentum
from talweg_core.optimizers.nesterov import Nesterov
from talweg_core.optimizers.rmsprop import RMSProp
from talweg_core.optimizers.sgd import SGD

_BUILT_IN: tuple[type[Optimizer], ...] = (SGD, Momentum, Nesterov, RMSProp, Adam, AdamW)

__all__ = [
    "SGD", "Adam", "AdamW", "BoundOptimizer", "CoordinateOptimizer", "Hyperparameters", "Momentum", "Nesterov",
    "Optimizer", "RMSProp", "catalogue", "create", "names",
]  # fmt: skip


def catalogue() -> dict[str, type[Optimizer]]:
    """Every optimizer by name: our own, and those that installed packages add as `talweg.optimizers`."""
    found = {point.name: point.load() for point in entry_points(group="talweg.optimizers")}
    return found | {kind.name: kind for kind in _BUILT_IN}


def names() -> list[str]:
    """Every optimizer that `create` knows."""
    return sorted(catalogue())


def create(name: str, **hyperparameters: Any) -> Optimizer:
    """The optimizer of that name; raises UnknownName or InvalidHyperparameter, which give the nearest valid name."""
    kinds = catalogue()
    if name not in kinds:
        raise UnknownName("optimizer", name, kinds)
    kind = kinds[name]
    known = [field.name for field in dataclasses.fields(kind)]
    for key in hyperparameters:
        if key not in known:
            raise InvalidHyperparameter(str(UnknownName(f"{kind.__name__}: hyperparameter", key, known)))
    return kind(**hyperparameters)
