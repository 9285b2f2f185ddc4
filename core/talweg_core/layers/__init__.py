"""Layers by name, as a spec writes them: `{"layer": "dense", "units": 64}`, `{"layer": "relu"}`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from talweg_core.activations import ACTIVATIONS
from talweg_core.errors import InvalidNetwork, UnknownName
from talweg_core.layers.activation import ActivationLayer
from talweg_core.layers.base import BoundLayer, Layer, Shape, Space
from talweg_core.layers.dense import Dense

CATALOGUE: dict[str, type[Layer]] = {"dense": Dense}

__all__ = [
    "CATALOGUE",
    "ActivationLayer",
    "BoundLayer",
    "Dense",
    "Layer",
    "Shape",
    "Space",
    "create",
    "names",
]


def names() -> list[str]:
    """Every layer that `create` knows."""
    return sorted([*CATALOGUE, *ACTIVATIONS])


def create(description: Mapping[str, Any]) -> Layer:
    """The layer that `{"layer": name, setting: value, …}` describes; raises InvalidNetwork or UnknownName."""
    settings = dict(description)
    name = settings.pop("layer", None)
    if name in ACTIVATIONS:
        if settings:
            raise InvalidNetwork(f"{name}: takes no settings, got {settings}")
        return ActivationLayer(name)
    if not isinstance(name, str) or name not in CATALOGUE:
        raise UnknownName("layer", name, names())
    kind = CATALOGUE[name]
    known = {field.name: field for field in dataclasses.fields(kind)}
    for key in settings:
        if key not in known:
            raise UnknownName(f"{name}: setting", key, known)
    required = {n for n, f in known.items() if f.default is f.default_factory is dataclasses.MISSING}
    if missing := sorted(required - settings.keys()):
        raise InvalidNetwork(f"{name}: {', '.join(missing)} must be given")
    return kind(**settings)
