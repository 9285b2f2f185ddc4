"""Any step of any run: decoded where it was stored, recomputed and checked where it was not."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from talweg.errors import CorruptRecord, NoSuchStep
from talweg.records.coordinates import EVERY, Columns
from talweg.records.lineage import Piece, pieces
from talweg.records.replay import replay, restored
from talweg.store import ChunkRow, RunRow, Store
from talweg.store import Quantity as Stored
from talweg.store.policy import CHUNK_STEPS
from talweg_core.layout import Array

Quantity = Literal["gradient", "parameters"]
_STEPS_AT_ONCE = 16 * CHUNK_STEPS


def gradient(store: Store, run: RunRow, step: int) -> Array:
    """g_t (P,) of one step, in the run's precision; raises NoSuchStep, CorruptRecord or ReplayDiverged."""
    found: Array = records(store, run, "gradient", step, step + 1)[0]
    return found


def parameters(store: Store, run: RunRow, step: int) -> Array:
    """θ_t (P,) before step t, or after the last one; raises as `gradient` does."""
    found: Array = records(store, run, "parameters", step, step + 1)[0]
    return found


def records(store: Store, run: RunRow, quantity: Quantity, start: int, stop: int, columns: Columns = EVERY) -> Array:
    """Gradients or parameters (stop − start, P) of steps start … stop − 1, in the run's precision.

    With `columns` those of the P coordinates alone. Parameters also have the step after the last one.
    Raises NoSuchStep for what is not recorded (yet),
    CorruptRecord where a stored payload is damaged, ReplayDiverged where recomputing gives other bits.
    """
    # Only an ended run's last checkpoint stays where it is.
    after_last = quantity == "parameters" and run.ended
    end = run.step + after_last
    if not 0 <= start < stop <= end:
        raise NoSuchStep(f"run {run.name}: has {quantity} of the steps 0 to {end - 1}, got {_span(start, stop)}")
    if stop > run.step:
        last = restored(store, run, run.step)
        last = last[columns][None]
        earlier = records(store, run, quantity, start, run.step, columns) if start < run.step else last[:0]
        return np.concatenate([earlier, last])
    parts = [_own(store, piece, quantity, columns) for piece in pieces(store, run, start, stop)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def norms(store: Store, run: RunRow, start: int, stop: int) -> Array:
    """(stop − start, 3, T) in float64: of each step and tensor, the norm of gradient, parameters and update."""
    tensors = len(run.tensors)
    width, dtype = 3 * tensors, np.dtype(np.float64)
    parts = [_stored(store, piece, "norms", width, dtype) for piece in pieces(store, run, start, stop)]
    flat = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return flat.reshape(len(flat), 3, tensors)


def size_of(run: RunRow) -> int:
    """P: how many coordinates the run's parameters have."""
    return sum(math.prod(tensor["shape"]) for tensor in run.tensors)


def _own(store: Store, piece: Piece, quantity: Quantity, columns: Columns) -> Array:
    """What one run recorded of its own steps."""
    run = piece.run
    if run.record == "replay":
        return replay(store, run, quantity, piece.start, piece.stop, columns)
    return _stored(store, piece, quantity, size_of(run), np.dtype(run.precision), columns)


def _stored(
    store: Store, piece: Piece, quantity: Stored, width: int, dtype: np.dtype[Any], columns: Columns = EVERY
) -> Array:
    """(stop − start, width) out of the chunks that hold these steps; raises CorruptRecord where one is missing."""
    run, start, stop = piece.run, piece.start, piece.stop
    _check_places(store, piece, quantity)
    values = np.empty((stop - start, len(np.empty(width, np.bool_)[columns])), dtype)
    filled = 0
    for chunk in _chunks(store, piece, quantity):
        if max(chunk.first_step, start) != start + filled:
            # One is missing, or two claim the same steps.
            break
        inside = chunk.array(dtype, width, start, stop)[:, columns]
        values[filled : filled + len(inside)] = inside
        filled += len(inside)
    if filled != stop - start:
        raise CorruptRecord(
            f"run {run.name}: {quantity} of the steps {_span(start, stop)} must be {stop - start} rows, got {filled}"
        )
    return values


def _check_places(store: Store, piece: Piece, quantity: Stored) -> None:
    """Raise CorruptRecord where a chunk reaches into its neighbour's steps, or out of the run's.

    A digest covers a chunk's bytes and not where its row puts them: a row that was moved by some steps would give other
    steps' numbers. Moved, it overlaps one of its neighbours. A gap is none of these: what is gone is found by whoever
    asks for it, and the rest stays readable.
    """
    run = piece.run
    bounds = store.chunk_bounds(run.id, quantity, piece.start, piece.stop)
    # Of a run under way more may be recorded by now than its row said.
    end = run.step if run.ended else max([run.step, *(last for _, last in bounds)])
    edges = [(run.parent_step or 0,) * 2, *bounds, (end, end)]
    for (first, last), (following, until) in pairwise(edges):
        if following < last:
            raise CorruptRecord(
                f"run {run.name}: {quantity} of the steps {_span(first, max(first + 1, last))} and of "
                f"{_span(following, max(following + 1, until))} must not overlap"
            )


def _chunks(store: Store, piece: Piece, quantity: Stored) -> Iterator[ChunkRow]:
    """The chunks of the steps, some at a time: a long range of a wide run would not fit into memory."""
    for first in range(piece.start, piece.stop, _STEPS_AT_ONCE):
        last = min(first + _STEPS_AT_ONCE, piece.stop)
        # One that reaches across from before was given already.
        yield from (
            chunk
            for chunk in store.chunks(piece.run.id, quantity, first, last)
            if first == piece.start or chunk.first_step >= first
        )


def _span(start: int, stop: int) -> str:
    return str(start) if stop == start + 1 else f"{start} to {stop - 1}"
