"""The layout of named tensors in one flat vector of P coordinates."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from talweg_core.errors import EngineError, UnknownName

Array = NDArray[np.floating]
# Coordinates of one run. With the gradient and the optimizer's state they take some gigabytes.
MAXIMUM_SIZE = 100_000_000


@dataclass(frozen=True)
class Layout:
    """The tensors of a flat vector, in order."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, shapes: Mapping[str, tuple[int, ...]]) -> "Layout":
        """The layout of these tensors, in the mapping's order; raises EngineError where they are too large to train."""
        size = sum(math.prod(shape) for shape in shapes.values())
        if size > MAXIMUM_SIZE:
            raise EngineError(f"parameters: there must be at most {MAXIMUM_SIZE}, got {size}")
        return cls(tuple(shapes), tuple(shapes.values()))

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """(T + 1,): tensor k is at offsets[k] to offsets[k + 1]."""
        return np.cumsum([0, *(math.prod(shape) for shape in self.shapes)], dtype=np.int64)

    @property
    def size(self) -> int:
        """P, the number of coordinates."""
        return int(self.offsets[-1])

    def slice(self, name: str) -> "slice[int, int, None]":
        """The slice of tensor `name`; raises UnknownName."""
        if name not in self.names:
            raise UnknownName("tensor", name, self.names)
        k = self.names.index(name)
        return slice(int(self.offsets[k]), int(self.offsets[k + 1]), None)

    def position(self, name: str, index: tuple[int, ...]) -> int:
        """The flat position of one coordinate; raises UnknownName, or EngineError for an index out of shape."""
        start = self.slice(name).start
        shape = self.shapes[self.names.index(name)]
        inside = len(index) == len(shape) and all(0 <= i < n for i, n in zip(index, shape, strict=True))
        if not inside:
            raise EngineError(f"{name}: the index must lie in the shape {shape}, got {index}")
        return start + int(np.ravel_multi_index(index, shape)) if shape else start

    def place(self, position: int) -> tuple[str, tuple[int, ...]]:
        """Tensor and index of one coordinate of the flat vector: the inverse of `position`."""
        k = int(np.searchsorted(self.offsets, position, side="right")) - 1
        inside = position - int(self.offsets[k])
        return self.names[k], tuple(int(i) for i in np.unravel_index(inside, self.shapes[k])) if self.shapes[k] else ()

    def views(self, flat: Array) -> dict[str, Array]:
        """Each tensor of `flat` (R, P) as a view (R, *shape)."""
        return {
            name: flat[:, self.slice(name)].reshape(len(flat), *shape)
            for name, shape in zip(self.names, self.shapes, strict=True)
        }

    def tensors(self, row: Array) -> dict[str, Array]:
        """Each tensor of one run's `row` (P,) as a view of its shape."""
        return {name: view[0] for name, view in self.views(row[None]).items()}
