"""Which tensors of a layout are matrices, and a rule for one coordinate on those that are not."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg_core.layout import Layout
from talweg_core.optimizers.base import Hyperparameters, Numbers, Situation
from talweg_core.optimizers.coordinate import BoundCoordinates, CoordinateOptimizer

Matrix = tuple[str, "slice[int, int, None]", tuple[int, int]]


def matrices(layout: Layout) -> list[Matrix]:
    """Name, place and shape (inputs, outputs) of every tensor of two dimensions or more: (…, outputs)."""
    return [
        (name, layout.slice(name), (math.prod(shape[:-1]), shape[-1]))
        for name, shape in zip(layout.names, layout.shapes, strict=True)
        if len(shape) > 1
    ]


class Vectors:
    """A rule for one coordinate at work on the tensors of at most one dimension."""

    def __init__(
        self, kind: type[CoordinateOptimizer], h: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> None:
        """`h` must hold the rule's hyperparameters."""
        places = [
            np.arange(layout.slice(name).start, layout.slice(name).stop)
            for name, shape in zip(layout.names, layout.shapes, strict=True)
            if len(shape) <= 1
        ]
        self._places: NDArray[np.int64] = np.concatenate(places) if places else np.empty(0, np.int64)
        self._rule = BoundCoordinates(kind, h, len(self._places), dtype)
        self.state = {f"vectors.{name}": array for name, array in self._rule.state.items()}

    def update(self, situation: Situation, learning_rate: Numbers) -> None:
        """Move them, with this learning rate (R,)."""
        if not len(self._places):
            return
        p = np.ascontiguousarray(situation.parameters[:, self._places])
        g = np.ascontiguousarray(situation.gradient[:, self._places])
        h = situation.hyperparameters | {"learning_rate": learning_rate}
        self._rule.update(replace(situation, parameters=p, gradient=g, hyperparameters=h))
        situation.parameters[:, self._places] = p
