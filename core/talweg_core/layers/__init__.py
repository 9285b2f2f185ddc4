"""The catalogue of layers, by their names in a spec: `{"layer": "dense", "units": 64}`, `{"layer": "relu"}`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from talweg_core.activations import ACTIVATIONS
from talweg_core.errors import InvalidNetwork, UnknownName
from talweg_core.layers.activation import ActivationLayer
from talweg_core.layers.attention import SelfAttention
from talweg_core.layers.base import BoundLayer, Layer, Shape, Space
from talweg_core.layers.batch_norm import BatchNorm
from talweg_core.layers.conv2d import Conv2d
from talweg_core.layers.dense import Dense
from talweg_core.layers.dropout import Dropout
from talweg_core.layers.embedding import Embedding
from talweg_core.layers.gaussian import Gaussian
from talweg_core.layers.layer_norm import LayerNorm
from talweg_core.layers.lstm import LSTM
from talweg_core.layers.pooling import AveragePool, MaxPool
from talweg_core.layers.recurrent import Recurrent
from talweg_core.layers.reshaping import Flatten, Reshape
from talweg_core.layers.residual import Residual

CATALOGUE: dict[str, type[Layer]] = {
    kind.kind: kind
    for kind in (
        AveragePool, BatchNorm, Conv2d, Dense, Dropout, Embedding, Flatten, Gaussian, LSTM, LayerNorm, MaxPool,
        Recurrent, Reshape, Residual, SelfAttention,
    )
}  # fmt: skip

__all__ = ["CATALOGUE", "BoundLayer", "Layer", "Shape", "Space", "create", "names"]


def names() -> list[str]:
    """The name of every layer that `create` accepts."""
    return sorted([*CATALOGUE, *ACTIVATIONS])


def create(description: Mapping[str, Any], place: str = "") -> Layer:
    """The layer that `{"layer": name, setting: value, …}` describes; raises InvalidNetwork or UnknownName.

    `place` is the start of an error message: "layer 2, ".
    """
    try:
        return _create(description)
    except InvalidNetwork as error:
        raise InvalidNetwork(f"{place}{error}") from None


def _create(description: Mapping[str, Any]) -> Layer:
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
    if kind is Residual:
        settings["layers"] = _inside(settings["layers"])
    return kind(**settings)


def _inside(described: object) -> tuple[Layer, ...]:
    if not isinstance(described, list) or not all(isinstance(layer, dict) for layer in described):
        raise InvalidNetwork(f'residual: layers must be a list such as [{{"layer": "relu"}}], got {described!r}')
    return tuple(create(layer, f"residual: layer {position}, ") for position, layer in enumerate(described, 1))
