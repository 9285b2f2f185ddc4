"""Recorded steps of a run: decoded where they are stored, recomputed and checked where they are not.

A fork's own steps start at its parent's step; earlier steps are read from its ancestors. One step, a range, or chosen
steps in one pass; also each step's batch, evaluations and seconds.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from talweg.errors import CorruptRecord, NoSuchStep
from talweg.records.coordinates import EVERY, Columns, size_of
from talweg.records.from_spec import cohort_of_run
from talweg.records.replay import replay, replay_chosen, restored
from talweg.store import Chunk, Quantity, RunRow, Store
from talweg.store.batch import CHUNK_STEPS
from talweg_core.layout import Array
from talweg_core.problems import NetworkProblem

VectorQuantity = Literal["gradient", "parameters"]
_STEPS_AT_ONCE = 16 * CHUNK_STEPS
# Values read at once, at most.
_VALUES = 4_000_000
_ONE_GRADIENT = np.array([1, 0, 0], dtype=np.int64)


@dataclass(frozen=True)
class Piece:
    """Steps start … stop − 1, recorded by `run` itself."""

    run: RunRow
    start: int
    stop: int


def pieces(store: Store, run: RunRow, start: int, stop: int) -> list[Piece]:
    """The steps start … stop − 1 of a run, split by the run that recorded them, oldest first."""
    found: list[Piece] = []
    while run.parent_run_id is not None and run.parent_step is not None and start < run.parent_step:
        if stop > run.parent_step:
            found.append(Piece(run, run.parent_step, stop))
            stop = run.parent_step
        run = store.run(run.parent_run_id)
    return [Piece(run, start, stop), *reversed(found)]


def owner(store: Store, run: RunRow, step: int) -> RunRow:
    """The run that records `step`: `run` itself, or the ancestor with which it shares the step."""
    return pieces(store, run, step, step + 1)[0].run


def gradient(store: Store, run: RunRow, step: int) -> Array:
    """g_t (P,) of one step, in the run's precision; raises NoSuchStep, CorruptRecord or ReplayDiverged."""
    found: Array = records(store, run, "gradient", step, step + 1)[0]
    return found


def parameters(store: Store, run: RunRow, step: int) -> Array:
    """θ_t (P,) before step t, or after the last one; raises as `gradient` does."""
    found: Array = records(store, run, "parameters", step, step + 1)[0]
    return found


def records(
    store: Store, run: RunRow, quantity: VectorQuantity, start: int, stop: int, columns: Columns = EVERY
) -> Array:
    """Gradients or parameters (stop − start, P) of steps start … stop − 1, in the run's precision.

    With `columns` only those of the P coordinates. Parameters of an ended run also have the step after the last one.
    Raises NoSuchStep for steps that are not recorded (yet), CorruptRecord where a stored payload is damaged,
    ReplayDiverged where recomputing gives other bits.
    """
    # Only an ended run keeps its last checkpoint.
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
    """(stop − start, 3, T) in float64: the norms of gradient, parameters and update of each step and tensor."""
    tensors = len(run.tensors)
    width, dtype = 3 * tensors, np.dtype(np.float64)
    parts = [_stored(store, piece, "norms", width, dtype) for piece in pieces(store, run, start, stop)]
    flat = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return flat.reshape(len(flat), 3, tensors)


def _own(store: Store, piece: Piece, quantity: VectorQuantity, columns: Columns) -> Array:
    """A quantity of steps that one run recorded itself."""
    run = piece.run
    if run.record == "replay":
        return replay(store, run, quantity, piece.start, piece.stop, columns)
    return _stored(store, piece, quantity, size_of(run), np.dtype(run.precision), columns)


def _stored(
    store: Store, piece: Piece, quantity: Quantity, width: int, dtype: np.dtype[Any], columns: Columns = EVERY
) -> Array:
    """(stop − start, width) from the chunks of these steps; raises CorruptRecord where one is missing."""
    run, start, stop = piece.run, piece.start, piece.stop
    _check_overlaps(store, piece, quantity)
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


def _check_overlaps(store: Store, piece: Piece, quantity: Quantity) -> None:
    """Raise CorruptRecord where a chunk overlaps its neighbour, or has steps outside the run's.

    A digest covers a chunk's bytes but not its row's `first_step`: a row with a changed `first_step` would give the
    values of other steps, and overlaps one of its neighbours. A gap is no error here: reading the missing steps raises
    one, and the rest stays readable.
    """
    run = piece.run
    bounds = store.chunk_bounds(run.id, quantity, piece.start, piece.stop)
    # A run in progress may have recorded more since its row was read.
    end = run.step if run.ended else max([run.step, *(last for _, last in bounds)])
    edges = [(run.parent_step or 0,) * 2, *bounds, (end, end)]
    for (first, last), (following, until) in pairwise(edges):
        if following < last:
            raise CorruptRecord(
                f"run {run.name}: {quantity} of the steps {_span(first, max(first + 1, last))} and of "
                f"{_span(following, max(following + 1, until))} must not overlap"
            )


def _chunks(store: Store, piece: Piece, quantity: Quantity) -> Iterator[Chunk]:
    """The chunks of the steps, read in parts: a long range of a run with many parameters does not fit into memory."""
    for first in range(piece.start, piece.stop, _STEPS_AT_ONCE):
        last = min(first + _STEPS_AT_ONCE, piece.stop)
        # A chunk that starts before `first` was yielded by the previous part.
        yield from (
            chunk
            for chunk in store.chunks(piece.run.id, quantity, first, last)
            if first == piece.start or chunk.first_step >= first
        )


def _span(start: int, stop: int) -> str:
    return str(start) if stop == start + 1 else f"{start} to {stop - 1}"


@dataclass(frozen=True, eq=False)
class Point:
    """Step t: C_t, θ_t (P,) and g_t (P,), as recorded by the run `owner`."""

    owner: RunRow
    step: int
    cost: float
    parameters: Array
    gradient: Array


def walk(store: Store, run: RunRow, steps: Sequence[int], enough: Callable[[], bool]) -> Iterator[Point]:
    """The recorded `steps`, ascending, until `enough` returns true; it is called before each.

    Raises ReplayDiverged or CorruptRecord. Where steps are recomputed, the last costs and the next checkpoint are
    compared only after all steps were yielded.
    """
    for piece in pieces(store, run, steps[0], steps[-1] + 1) if steps else ():
        inside = [step for step in steps if piece.start <= step < piece.stop]
        yield from (_walk_recomputed if piece.run.record == "replay" else _walk_stored)(store, piece, inside, enough)


def _walk_recomputed(store: Store, piece: Piece, steps: Sequence[int], enough: Callable[[], bool]) -> Iterator[Point]:
    for step, cost, parameters, gradient in replay_chosen(store, piece.run, steps, enough):
        yield Point(piece.run, step, cost, parameters, gradient)


def _walk_stored(store: Store, piece: Piece, steps: Sequence[int], enough: Callable[[], bool]) -> Iterator[Point]:
    run, start, stop = piece.run, 0, 0
    for step in steps:
        if enough():
            return
        if step >= stop:
            # To the end of the chunk: it is decoded as a whole.
            end = min((step // CHUNK_STEPS + 1) * CHUNK_STEPS, piece.stop, step + max(1, _VALUES // size_of(run)))
            gradients, parameters = (records(store, run, kind, step, end) for kind in ("gradient", "parameters"))
            costs = store.steps(run.id, step, end).cost
            start, stop = step, end
        k = step - start
        yield Point(run, step, float(costs[k]), parameters[k], gradients[k])


def evaluations_between(store: Store, run: RunRow, start: int, stop: int) -> NDArray[np.int64]:
    """(n, 3) counts of gradients, costs and Hessian products of the recorded steps start … stop − 1."""
    made = np.tile(_ONE_GRADIENT, (stop - start, 1))
    for piece in pieces(store, run, start, stop):
        # A step that took one gradient has no stored counts.
        for chunk in store.chunks(piece.run.id, "evaluations", piece.start, piece.stop):
            first = max(chunk.first_step, piece.start)
            rows = chunk.array(made.dtype, 3, piece.start, piece.stop)
            made[first - start : first - start + len(rows)] = rows
    return made


@dataclass(frozen=True, eq=False)
class Batch:
    """Positions (B,) in the training split, and their examples; None where the problem has no examples."""

    indices: NDArray[np.int64]
    inputs: NDArray[Any] | None
    targets: NDArray[Any] | None


def batch(store: Store, run: RunRow, step: int) -> Batch:
    """The batch of the gradient of `step`; raises NoSuchStep where that step is not recorded."""
    if not 0 <= step < run.step:
        raise NoSuchStep(f"run {run.name}: has batches of the steps 0 to {run.step - 1}, got {step}")
    cohort = cohort_of_run(owner(store, run, step))
    indices = cohort.batch(0, step)
    if not isinstance(cohort.problem, NetworkProblem):
        return Batch(indices, None, None)
    inputs, targets = cohort.problem.dataset.part("train")
    return Batch(indices, inputs[indices], np.asarray(targets[indices]))
