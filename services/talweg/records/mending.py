"""Damaged chunks of a record, computed again and put back: only where all that is computed agrees with what is left."""

from dataclasses import dataclass

import numpy as np

from talweg.errors import CorruptRecord, ReplayDiverged
from talweg.records.reading import size_of
from talweg.records.replay import recompute
from talweg.store import Chunk, ChunkRow, Quantity, RunRow, Store

_QUANTITIES: tuple[Quantity, ...] = ("gradient", "parameters", "norms")
# Chunks looked at together: their payloads are in memory.
_STEPS_AT_ONCE = 1024


@dataclass(frozen=True)
class Mended:
    """One damaged chunk, in words; `problem` says why it could not be mended, None where it was."""

    what: str
    problem: str | None


def mend(store: Store, run: RunRow) -> list[Mended]:
    """Mend what is damaged among the chunks that this run itself recorded; those of its ancestors are theirs.

    A chunk is put back only where the steps around it recompute to the recorded costs and to the next checkpoint, bit
    for bit. Chunks that are missing altogether, and checkpoints, are not mended.
    """
    begin = run.parent_step or 0
    return [
        _mended(store, run, quantity, chunk, damage)
        for quantity in _QUANTITIES
        for chunk, damage in _damaged(store, run, quantity, begin)
    ]


def _damaged(store: Store, run: RunRow, quantity: Quantity, begin: int) -> list[tuple[ChunkRow, str]]:
    width, dtype = _form(run, quantity)
    found: dict[int, tuple[ChunkRow, str]] = {}
    for start in range(begin, run.step, _STEPS_AT_ONCE):
        for chunk in store.chunks(run.id, quantity, start, min(start + _STEPS_AT_ONCE, run.step)):
            try:
                chunk.array(dtype, width)
            except CorruptRecord as error:
                found[chunk.first_step] = (chunk, str(error))
    return list(found.values())


def _mended(store: Store, run: RunRow, quantity: Quantity, chunk: ChunkRow, damage: str) -> Mended:
    first, stop = chunk.first_step, chunk.first_step + chunk.steps
    try:
        found = recompute(store, run, first, stop, keep=True)
    except (CorruptRecord, ReplayDiverged) as error:
        return Mended(damage, str(error))
    store.replace_chunk(Chunk.of(run.id, quantity, first, getattr(found, quantity)))
    return Mended(damage, None)


def _form(run: RunRow, quantity: Quantity) -> tuple[int, "np.dtype[np.floating]"]:
    if quantity == "norms":
        return 3 * len(run.tensors), np.dtype(np.float64)
    return size_of(run), np.dtype(run.precision)
