"""Segments as bytes, and back, between a worker and the process that writes for it."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.execution.segment import Checkpoint, Evaluated, Segment

# Widest elements first, so that each array begins where its kind may.
_OF_EIGHT_BYTES = ("costs", "learning_rates", "norms", "seconds", "evaluations")
_VECTORS = ("gradients", "parameters", "after")
_COLUMNS = (*_OF_EIGHT_BYTES, "stepped")


def pack(segment: Segment) -> tuple[dict[str, Any], list[memoryview]]:
    """What JSON holds of it, and everything else, which is bytes one after another; only steps that it has."""
    arrays, pieces = [], list[memoryview]()
    for name in (*_OF_EIGHT_BYTES, *_VECTORS, "stepped"):
        array = getattr(segment, name)
        if array is not None:
            part = array if name == "after" else array[: segment.count]
            arrays.append((name, part.dtype.str, part.shape))
            pieces.append(part.reshape(-1).view(np.uint8).data)
    checkpoints = [(row, made) for row, several in segment.checkpoints.items() for made in several]
    said = {
        "first_step": segment.first_step,
        "count": segment.count,
        "commit": segment.commit,
        "arrays": arrays,
        "evaluated": [(e.row, e.step, e.split, e.cost, e.metric) for e in segment.evaluated],
        "checkpoints": [(row, made.step, made.kept, len(made.payload)) for row, made in checkpoints],
        "stops": list(segment.stops.items()),
    }
    return said, pieces + [memoryview(made.payload) for _, made in checkpoints]


def unpack(said: dict[str, Any], body: NDArray[np.uint8]) -> Segment:
    """The segment that `pack` was given; its vectors are views of `body`, and nothing else is."""
    at, arrays = 0, dict.fromkeys((*_COLUMNS, *_VECTORS))
    for name, kind, shape in said["arrays"]:
        size = math.prod(shape) * np.dtype(kind).itemsize
        array = body[at : at + size].view(kind).reshape(shape)
        arrays[name], at = array if name in _VECTORS else array.copy(), at + size
    checkpoints: dict[int, list[Checkpoint]] = {}
    for row, step, kept, size in said["checkpoints"]:
        checkpoints.setdefault(row, []).append(Checkpoint(step, body[at : at + size].tobytes(), kept))
        at += size
    return Segment(
        first_step=said["first_step"],
        capacity=said["count"],
        count=said["count"],
        evaluated=[Evaluated(*one) for one in said["evaluated"]],
        checkpoints=checkpoints,
        stops=dict(said["stops"]),
        commit=said["commit"],
        **arrays,  # type: ignore[arg-type]  # by name
    )
