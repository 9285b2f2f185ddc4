"""Parts of a tensor by name and index: their positions among a run's P coordinates, and their shape."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from talweg.errors import InvalidSpec
from talweg.store import RunRow
from talweg_core.errors import UnknownName
from talweg_core.layout import Layout

Columns: TypeAlias = "slice | NDArray[np.int64]"
EVERY: Final = slice(None)
# For each axis a position, or None for all positions.
Index: TypeAlias = Sequence[int | None]


@dataclass(frozen=True, eq=False)
class Part:
    """Columns of the flat vector, and the shape of the part that they are."""

    columns: Columns
    shape: tuple[int, ...]


def layout_of(run: RunRow) -> Layout:
    """The tensors' places in the run's flat vectors."""
    return Layout.of({tensor["name"]: tuple(tensor["shape"]) for tensor in run.tensors})


def size_of(run: RunRow) -> int:
    """P, the number of coordinates of the run's parameters."""
    return sum(math.prod(tensor["shape"]) for tensor in run.tensors)


def part_of(run: RunRow, tensor: str, index: Index = ()) -> Part:
    """A tensor of the run, or the part that `index` selects: `(3, None)` is row 3, `()` is the whole tensor.

    Raises InvalidSpec where there is no such tensor (the message names the nearest) or the index is outside the shape.
    """
    layout = layout_of(run)
    if tensor not in layout.names:
        raise InvalidSpec(str(UnknownName("tensor", tensor, layout.names)))
    shape = layout.shapes[layout.names.index(tensor)]
    inside = len(index) <= len(shape) and all(i is None or 0 <= i < n for i, n in zip(index, shape, strict=False))
    if not inside:
        shown = ", ".join(":" if i is None else str(i) for i in index)
        raise InvalidSpec(f"{tensor}: the index must lie in the shape {shape}, got ({shown})")
    where = layout.slice(tensor)
    if all(i is None for i in index):
        return Part(where, shape)
    positions = np.arange(where.start, where.stop).reshape(shape)
    chosen = positions[tuple(EVERY if i is None else i for i in index)]
    return Part(np.atleast_1d(chosen).reshape(-1), chosen.shape)
