"""Repair a damaged record: what is damaged is computed again, and put back only where it agrees with the rest."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from talweg.errors import CorruptRecord, ReplayDiverged
from talweg.records.replay import checkpoint_again, kept_checkpoints, recompute
from talweg.records.steps import size_of
from talweg.store import Chunk, ChunkRow, Quantity, RunRow, Store
from talweg.store.policy import CHUNK_STEPS

_QUANTITIES: dict[str, tuple[Quantity, ...]] = {"full": ("gradient", "parameters", "norms"), "replay": ("norms",)}
# Chunks looked at together: their payloads are in memory.
_STEPS_AT_ONCE = 1024


@dataclass(frozen=True)
class Mended:
    """One damaged chunk or checkpoint, in words; `problem` says why it could not be mended, None where it was."""

    what: str
    problem: str | None


def mend(store: Store, run: RunRow) -> list[Mended]:
    """Mend what is damaged of what this run itself recorded; its ancestors' is theirs.

    A chunk is put back, damaged or gone, only where the steps around it recompute to the recorded costs and to the next
    checkpoint, bit for bit; a checkpoint where it recomputes to its own digest. A checkpoint that is gone took its
    digest with it, and what a fork began with was computed elsewhere: neither is mended, and chunks that claim the
    same steps are not either.
    """
    begin = run.parent_step or 0
    # The chunks are computed from the checkpoints.
    return [
        *_checkpoints(store, run),
        *(one for kind in _QUANTITIES[run.record] for one in _of(store, run, kind, begin)),
    ]


def _checkpoints(store: Store, run: RunRow) -> Iterator[Mended]:
    for step in kept_checkpoints(run):
        try:
            found = store.checkpoint_before(run.id, step)
        except CorruptRecord as damage:
            yield _put_back(store, run, step, str(damage))
            continue
        if found is None or found[0] != step:
            yield Mended(f"run {run.name}: checkpoint of step {step}: is gone", "its digest is gone with it")


def _put_back(store: Store, run: RunRow, step: int, damage: str) -> Mended:
    if step == (run.parent_step or 0):
        return Mended(damage, "what the run began with is not computed from its own record")
    try:
        store.replace_checkpoint(run.id, step, checkpoint_again(store, run, step))
    except (CorruptRecord, ReplayDiverged) as error:
        return Mended(damage, str(error))
    return Mended(damage, None)


def _of(store: Store, run: RunRow, quantity: Quantity, begin: int) -> Iterator[Mended]:
    for chunk, damage in _damaged(store, run, quantity, begin):
        yield _mended(store, run, quantity, chunk.first_step, chunk.first_step + chunk.steps, damage)
    bounds = store.chunk_bounds(run.id, quantity, begin, run.step) if run.step > begin else []
    beside = list(pairwise([(begin, begin), *bounds, (run.step, run.step)]))
    claimed = [first for (_, last), (first, _) in beside if first < last]
    for first in claimed:
        where = f"run {run.name}: {quantity} of the steps from {first} on: are in two chunks"
        yield Mended(where, "which of them is right, only a verification says")
    # What is missing may be what was moved.
    for (_, last), (first, _) in () if claimed else beside:
        # As quick runs have them.
        while last < first:
            end = min((last // CHUNK_STEPS + 1) * CHUNK_STEPS, first)
            gone = f"run {run.name}: {quantity} of steps {last} to {end - 1}: are gone"
            yield _mended(store, run, quantity, last, end, gone)
            last = end


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


def _mended(store: Store, run: RunRow, quantity: Quantity, first: int, stop: int, damage: str) -> Mended:
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
