"""Segments as bytes, and back, between a worker and the process that writes for it."""

import math
from typing import Any

import numpy as np

from talweg.execution.segment import Checkpoint, Evaluated, Segment

# Widest elements first, so that each array begins where its kind may.
_OF_EIGHT_BYTES = ("costs", "learning_rates", "norms", "seconds", "evaluations")
_STEPPING = (*_OF_EIGHT_BYTES, "gradients", "parameters", "stepped")


def pack(segment: Segment) -> tuple[dict[str, Any], bytes]:
    """What JSON holds of it, and everything else; only steps that it has."""
    arrays, pieces = [], []
    for name in (*_OF_EIGHT_BYTES, "gradients", "parameters", "after", "stepped"):
        array = getattr(segment, name)
        if array is not None:
            part = array[: segment.count] if name in _STEPPING else array
            arrays.append((name, part.dtype.str, part.shape))
            pieces.append(part.data)
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
    return said, b"".join([*pieces, *(made.payload for _, made in checkpoints)])


def unpack(said: dict[str, Any], body: bytes | bytearray) -> Segment:
    """The segment that `pack` was given; its arrays are views of `body`."""
    at, arrays = 0, dict.fromkeys((*_STEPPING, "after"))
    for name, kind, shape in said["arrays"]:
        size = math.prod(shape)
        array = np.frombuffer(body, kind, size, at).reshape(shape) if size else np.empty(shape, kind)
        arrays[name], at = array, at + array.nbytes
    checkpoints: dict[int, list[Checkpoint]] = {}
    for row, step, kept, size in said["checkpoints"]:
        checkpoints.setdefault(row, []).append(Checkpoint(step, bytes(body[at : at + size]), kept))
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
