"""Chosen steps of a run in one pass: what was stored is read a chunk at a time, what was not is recomputed once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from talweg.records.lineage import Piece, pieces
from talweg.records.reading import records, size_of
from talweg.records.replay import replay_chosen
from talweg.store import RunRow, Store
from talweg.store.policy import CHUNK_STEPS
from talweg_core.layout import Array

# Read at once, at most.
_VALUES = 4_000_000


@dataclass(frozen=True, eq=False)
class Point:
    """Step t: C_t, θ_t (P,) and g_t (P,), as recorded; `owner` is the run that recorded it."""

    owner: RunRow
    step: int
    cost: float
    parameters: Array
    gradient: Array


def walk(store: Store, run: RunRow, steps: Sequence[int], enough: Callable[[], bool]) -> Iterator[Point]:
    """The recorded `steps`, ascending, until `enough`, which is asked before each.

    Raises ReplayDiverged or CorruptRecord; of what is recomputed, the last costs and the next checkpoint are compared
    only once all steps were given.
    """
    for piece in pieces(store, run, steps[0], steps[-1] + 1) if steps else ():
        inside = [step for step in steps if piece.start <= step < piece.stop]
        yield from (_recomputed if piece.run.record == "replay" else _stored)(store, piece, inside, enough)


def _recomputed(store: Store, piece: Piece, steps: Sequence[int], enough: Callable[[], bool]) -> Iterator[Point]:
    for step, cost, parameters, gradient in replay_chosen(store, piece.run, steps, enough):
        yield Point(piece.run, step, cost, parameters, gradient)


def _stored(store: Store, piece: Piece, steps: Sequence[int], enough: Callable[[], bool]) -> Iterator[Point]:
    run, start, stop = piece.run, 0, 0
    for step in steps:
        if enough():
            return
        if step >= stop:
            # To the end of its chunk, which is decoded as a whole anyway.
            end = min((step // CHUNK_STEPS + 1) * CHUNK_STEPS, piece.stop, step + max(1, _VALUES // size_of(run)))
            gradients, parameters = (records(store, run, kind, step, end) for kind in ("gradient", "parameters"))
            costs = store.steps(run.id, step, end).cost
            start, stop = step, end
        k = step - start
        yield Point(run, step, float(costs[k]), parameters[k], gradients[k])
