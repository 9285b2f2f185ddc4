"""Verify a record, whole or a sample: stored bytes are intact and equal to what the engine computes.

Damaged parts are recomputed, and replaced only where the result agrees with the rest of the record.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from talweg.errors import CorruptRecord, InvalidSpec, ReplayDiverged
from talweg.records.coordinates import size_of
from talweg.records.from_spec import problem_of
from talweg.records.replay import checkpoint_again, checkpoint_interval, kept_checkpoints, recompute
from talweg.records.steps import Piece, norms, pieces, records
from talweg.spec import Json, RunSpec
from talweg.store import Chunk, Quantity, RunRow, Store
from talweg.store.batch import CHUNK_STEPS
from talweg_core import numerics
from talweg_core.checks import check_gradient
from talweg_core.layout import Array
from talweg_core.randomness import stream

# Central differences in float64 have an error of about 1e-7 where the cost is smooth, more near a kink (relu, |x|).
_CLOSE = 1e-5
# The recorded gradient is in the run's precision: sums over a batch lose some digits.
_ROUNDING = {"float32": 1e-3, "float64": 1e-9}
# Values of one range, in memory at a time.
_VALUES = 4_000_000
_QUANTITIES: dict[str, tuple[Quantity, ...]] = {"full": ("gradient", "parameters", "norms"), "replay": ("norms",)}
# Chunks read together: their payloads are in memory.
_STEPS_AT_ONCE = 1024


@dataclass
class Finding:
    """One kind of check: how many values agreed, and a message for each that did not."""

    what: str
    agreed: int = 0
    broken: list[str] = field(default_factory=list)


@dataclass
class Verification:
    """The result of verifying the steps `start` … `next` − 1; `next` is None where the end was reached.

    Attributes:
        steps: How many steps were recomputed.
        recorded: The fingerprint of the numerics under which the run was recorded.
        numerics: The fingerprint of the numerics under which the steps were recomputed.
    """

    run: str
    start: int
    next: int | None
    steps: int
    findings: list[Finding]
    recorded: Json | None
    numerics: Json

    @property
    def agrees(self) -> bool:
        """Whether every check agreed."""
        return not any(finding.broken for finding in self.findings)


class _Verifier:
    """The checks of one verification, and their findings by kind."""

    def __init__(self, store: Store, run: RunRow) -> None:
        self.store, self.run = store, run
        self.findings: dict[str, Finding] = {}
        self.steps = 0

    def add(self, what: str, broken: str | None = None, count: int = 1) -> None:
        finding = self.findings.setdefault(what, Finding(what))
        if broken is None:
            finding.agreed += count
        else:
            finding.broken.append(broken)

    def check(self, piece: Piece) -> None:
        """Read, recompute and compare steps that one run recorded."""
        run, start, stop = piece.run, piece.start, piece.stop
        stored = {"norms": self._read("norms", piece)}
        if run.record == "full":
            stored |= {quantity: self._read(quantity, piece) for quantity in ("gradient", "parameters")}
        try:
            found = recompute(self.store, run, start, stop, keep=run.record == "full")
        except ReplayDiverged as error:
            self.add("costs and checkpoints", str(error))
            return
        except CorruptRecord as error:
            self.add("stored bytes", str(error))
            return
        self.steps += stop - start
        self.add("costs and checkpoints", count=stop - start)
        for quantity, values in stored.items():
            if values is None:
                continue
            differing = np.flatnonzero((_bits(values) != _bits(getattr(found, quantity))).any(axis=1))
            if len(differing):
                steps = f"{start + differing[0]}" + (f" and {len(differing) - 1} more" if len(differing) > 1 else "")
                self.add(quantity, f"run {run.name}: {quantity} of step {steps} must equal the recomputed one")
            else:
                self.add(quantity, count=stop - start)
        self._check_gradient(piece, found.parameters[0], found.gradient[0])

    def _read(self, quantity: str, piece: Piece) -> Array | None:
        try:
            if quantity == "norms":
                found = norms(self.store, piece.run, piece.start, piece.stop)
                values: Array = found.reshape(len(found), -1)
            else:
                values = records(self.store, piece.run, quantity, piece.start, piece.stop)  # type: ignore[arg-type]  # one of the two
        except CorruptRecord as error:
            self.add("stored bytes", str(error))
            return None
        self.add("stored bytes", count=piece.stop - piece.start)
        return values

    def _check_gradient(self, piece: Piece, point: Array, slope: Array) -> None:
        """Compare the gradient of the first step with the one in float64, and that with central differences."""
        run, spec, step = piece.run, RunSpec.model_validate(piece.run.spec), piece.start
        if not (np.isfinite(slope).all() and np.isfinite(point).all()):
            return
        checked = check_gradient(
            problem_of(spec), parameters=point, seed=spec.seed, batch_size=spec.batch_size, step=step, directions=4
        )
        error = float(np.median(checked.relative_errors))
        size = float(np.linalg.norm(checked.gradient))
        away = float(np.linalg.norm(slope - checked.gradient)) / (size or 1.0)
        where = f"run {run.name}: the gradient of step {step}"
        self.add(
            "central differences",
            None if error <= _CLOSE else f"{where} must be within {_CLOSE} of central differences, got {error:.2g}",
        )
        allowed = _ROUNDING[run.precision]
        self.add(
            "gradients in float64",
            None if away <= allowed else f"{where} must be within {allowed} of the one in float64, got {away:.2g}",
        )


def verify(
    store: Store, run: RunRow, *, sample: int | None = None, start: int = 0, seconds: float = 5.0
) -> Verification:
    """Verify every range of steps from `start` on, or `sample` ranges drawn by the run's id, for `seconds`.

    At least one range is verified; `next` of the result is where to continue. A disagreement is in the result, not
    raised. Raises InvalidSpec for a `start` outside the run or a `sample` below 1.
    """
    if not 0 <= start <= run.step:
        raise InvalidSpec(f"start: must lie in [0, {run.step}], got {start}")
    if sample is not None and sample < 1:
        raise InvalidSpec(f"sample: must be at least 1, got {sample}")
    until, verifier, at = time.monotonic() + seconds, _Verifier(store, run), start
    for piece in _chosen(list(_ranges(store, run)), run, sample):
        if piece.stop <= start:
            continue
        if verifier.findings and time.monotonic() >= until:
            return _result(verifier, start, at)
        verifier.check(piece)
        at = piece.stop
    return _result(verifier, start, None)


def _result(verifier: _Verifier, start: int, following: int | None) -> Verification:
    return Verification(
        verifier.run.name,
        start,
        following,
        verifier.steps,
        list(verifier.findings.values()),
        verifier.run.numerics,
        numerics.fingerprint(),
    )


def _ranges(store: Store, run: RunRow) -> Iterator[Piece]:
    """The steps from one kept checkpoint to the next, ancestors' steps included."""
    if not run.step:
        return
    for piece in pieces(store, run, 0, run.step):
        every = checkpoint_interval(piece.run)
        if piece.run.record == "full":
            # Vectors are compared too, and must fit into memory.
            every = min(every, max(1, _VALUES // size_of(piece.run) // CHUNK_STEPS) * CHUNK_STEPS)
        at = piece.start
        while at < piece.stop:
            end = min((at // every + 1) * every, piece.stop)
            yield Piece(piece.run, at, end)
            at = end


def _chosen(ranges: Sequence[Piece], run: RunRow, sample: int | None) -> list[Piece]:
    """All ranges, or a sample drawn by the run's id: every part of a verification has the same sample."""
    if sample is None or sample >= len(ranges):
        return list(ranges)
    drawn = stream(int(run.id.replace("-", "")[-12:], 16), "check").choice(len(ranges), sample, replace=False)
    return [ranges[int(i)] for i in sorted(drawn)]


def _bits(
    values: "np.ndarray[tuple[int, ...], np.dtype[np.floating]]",
) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    rows = np.ascontiguousarray(values).reshape(len(values), -1)
    return rows.view(np.uint8)


@dataclass(frozen=True)
class Repaired:
    """One damaged chunk or checkpoint, in words; `problem` says why it could not be repaired, None where it was."""

    what: str
    problem: str | None


def repair(store: Store, run: RunRow) -> list[Repaired]:
    """Repair what is damaged of what this run itself recorded; its ancestors' is theirs.

    A chunk is put back, damaged or gone, only where the steps around it recompute to the recorded costs and to the next
    checkpoint, bit for bit; a checkpoint where it recomputes to its own digest. A checkpoint that is gone took its
    digest with it, and what a fork began with was computed elsewhere: neither is repaired, and chunks that claim the
    same steps are not either.
    """
    begin = run.parent_step or 0
    # Checkpoints first: chunks are recomputed from them.
    return [
        *_checkpoints(store, run),
        *(one for kind in _QUANTITIES[run.record] for one in _of(store, run, kind, begin)),
    ]


def _checkpoints(store: Store, run: RunRow) -> Iterator[Repaired]:
    for step in kept_checkpoints(run):
        try:
            found = store.checkpoint_before(run.id, step)
        except CorruptRecord as damage:
            yield _put_back(store, run, step, str(damage))
            continue
        if found is None or found[0] != step:
            yield Repaired(f"run {run.name}: checkpoint of step {step}: is gone", "its digest is gone with it")


def _put_back(store: Store, run: RunRow, step: int, damage: str) -> Repaired:
    if step == (run.parent_step or 0):
        return Repaired(damage, "what the run began with is not computed from its own record")
    try:
        store.replace_checkpoint(run.id, step, checkpoint_again(store, run, step))
    except (CorruptRecord, ReplayDiverged) as error:
        return Repaired(damage, str(error))
    return Repaired(damage, None)


def _of(store: Store, run: RunRow, quantity: Quantity, begin: int) -> Iterator[Repaired]:
    for chunk, damage in _damaged(store, run, quantity, begin):
        yield _repair_chunk(store, run, quantity, chunk.first_step, chunk.first_step + chunk.steps, damage)
    bounds = store.chunk_bounds(run.id, quantity, begin, run.step) if run.step > begin else []
    neighbours = list(pairwise([(begin, begin), *bounds, (run.step, run.step)]))
    claimed = [first for (_, last), (first, _) in neighbours if first < last]
    for first in claimed:
        where = f"run {run.name}: {quantity} of the steps from {first} on: are in two chunks"
        yield Repaired(where, "which of them is right, only a verification says")
    # Where chunks overlap, the gap may belong to one whose `first_step` was changed.
    for (_, last), (first, _) in () if claimed else neighbours:
        # In chunks of CHUNK_STEPS, as quick runs are recorded.
        while last < first:
            end = min((last // CHUNK_STEPS + 1) * CHUNK_STEPS, first)
            gone = f"run {run.name}: {quantity} of steps {last} to {end - 1}: are gone"
            yield _repair_chunk(store, run, quantity, last, end, gone)
            last = end


def _damaged(store: Store, run: RunRow, quantity: Quantity, begin: int) -> list[tuple[Chunk, str]]:
    width, dtype = _form(run, quantity)
    found: dict[int, tuple[Chunk, str]] = {}
    for start in range(begin, run.step, _STEPS_AT_ONCE):
        for chunk in store.chunks(run.id, quantity, start, min(start + _STEPS_AT_ONCE, run.step)):
            try:
                chunk.array(dtype, width)
            except CorruptRecord as error:
                found[chunk.first_step] = (chunk, str(error))
    return list(found.values())


def _repair_chunk(store: Store, run: RunRow, quantity: Quantity, first: int, stop: int, damage: str) -> Repaired:
    try:
        found = recompute(store, run, first, stop, keep=True)
    except (CorruptRecord, ReplayDiverged) as error:
        return Repaired(damage, str(error))
    store.replace_chunk(Chunk.of(run.id, quantity, first, getattr(found, quantity)))
    return Repaired(damage, None)


def _form(run: RunRow, quantity: Quantity) -> tuple[int, "np.dtype[np.floating]"]:
    if quantity == "norms":
        return 3 * len(run.tensors), np.dtype(np.float64)
    return size_of(run), np.dtype(run.precision)
