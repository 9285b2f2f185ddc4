"""A whole record, or a sample of it, looked at again: what is stored is intact, and is what the engine computes.

Stretches go from one kept checkpoint to the next. Each is recomputed, and its costs, norms and checkpoints compared bit
for bit, under `full` also its gradients and parameters; some derivatives are compared with central differences.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from talweg.errors import CorruptRecord, InvalidSpec, ReplayDiverged
from talweg.records.rebuild import problem_of
from talweg.records.replay import recompute
from talweg.records.steps import Piece, norms, pieces, records, size_of
from talweg.spec import Json, RunSpec
from talweg.store import RunRow, Store
from talweg.store.policy import CHUNK_STEPS, checkpoint_every
from talweg_core import numerics
from talweg_core.checks import check_gradient
from talweg_core.layout import Array
from talweg_core.randomness import stream

# Central differences in float64 are good to about 1e-7 where the cost is smooth; a kink nearby (relu, |x|) spoils one.
_CLOSE = 1e-5
# The recorded gradient is in the run's precision: sums over a batch lose some digits of it.
_ROUNDING = {"float32": 1e-3, "float64": 1e-9}
# Of one stretch, in memory at a time.
_VALUES = 4_000_000


@dataclass
class Finding:
    """One kind of thing that was looked at: how many agreed, and what did not, in words."""

    what: str
    agreed: int = 0
    broken: list[str] = field(default_factory=list)


@dataclass
class Verification:
    """What a verification of the steps `start` … `next` − 1 found; `next` is None where it came to the end.

    Attributes:
        steps: How many steps were recomputed.
        numerics: The fingerprint under which they were.
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
        """Whether everything that was looked at did."""
        return not any(finding.broken for finding in self.findings)


class _Look:
    """The findings of one verification, by what they are about."""

    def __init__(self, store: Store, run: RunRow) -> None:
        self.store, self.run = store, run
        self.findings: dict[str, Finding] = {}
        self.steps = 0

    def note(self, what: str, broken: str | None = None, count: int = 1) -> None:
        finding = self.findings.setdefault(what, Finding(what))
        if broken is None:
            finding.agreed += count
        else:
            finding.broken.append(broken)

    def stretch(self, piece: Piece) -> None:
        """Read, recompute and compare a few steps that one run recorded."""
        run, start, stop = piece.run, piece.start, piece.stop
        stored = {"norms": self._read("norms", piece)}
        if run.record == "full":
            stored |= {quantity: self._read(quantity, piece) for quantity in ("gradient", "parameters")}
        try:
            found = recompute(self.store, run, start, stop, keep=run.record == "full")
        except ReplayDiverged as error:
            self.note("costs and checkpoints", str(error))
            return
        except CorruptRecord as error:
            self.note("stored bytes", str(error))
            return
        self.steps += stop - start
        self.note("costs and checkpoints", count=stop - start)
        for quantity, values in stored.items():
            if values is None:
                continue
            differing = np.flatnonzero((_bits(values) != _bits(getattr(found, quantity))).any(axis=1))
            if len(differing):
                steps = f"{start + differing[0]}" + (f" and {len(differing) - 1} more" if len(differing) > 1 else "")
                self.note(quantity, f"run {run.name}: {quantity} of step {steps} must be what is recomputed")
            else:
                self.note(quantity, count=stop - start)
        self.derivatives(piece, found.parameters[0], found.gradient[0])

    def _read(self, quantity: str, piece: Piece) -> Array | None:
        try:
            if quantity == "norms":
                found = norms(self.store, piece.run, piece.start, piece.stop)
                values: Array = found.reshape(len(found), -1)
            else:
                values = records(self.store, piece.run, quantity, piece.start, piece.stop)  # type: ignore[arg-type]  # one of the two
        except CorruptRecord as error:
            self.note("stored bytes", str(error))
            return None
        self.note("stored bytes", count=piece.stop - piece.start)
        return values

    def derivatives(self, piece: Piece, point: Array, slope: Array) -> None:
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
        self.note(
            "central differences",
            None if error <= _CLOSE else f"{where} must be within {_CLOSE} of central differences, got {error:.2g}",
        )
        allowed = _ROUNDING[run.precision]
        self.note(
            "gradients in float64",
            None if away <= allowed else f"{where} must be within {allowed} of the one in float64, got {away:.2g}",
        )


def verify(
    store: Store, run: RunRow, *, sample: int | None = None, start: int = 0, seconds: float = 5.0
) -> Verification:
    """Look at every stretch from `start` on, or at `sample` of them drawn by the run's id, until time is up.

    At least one stretch is looked at; `next` of the answer is where to go on. Raises InvalidSpec for a start past the
    end. What does not agree is in the answer, not raised.
    """
    if not 0 <= start <= run.step:
        raise InvalidSpec(f"start: must lie in [0, {run.step}], got {start}")
    if sample is not None and sample < 1:
        raise InvalidSpec(f"sample: must be at least 1, got {sample}")
    until, look, at = time.monotonic() + seconds, _Look(store, run), start
    for piece in _chosen(list(_stretches(store, run)), run, sample):
        if piece.stop <= start:
            continue
        if look.findings and time.monotonic() >= until:
            return _answer(look, start, at)
        look.stretch(piece)
        at = piece.stop
    return _answer(look, start, None)


def _answer(look: _Look, start: int, following: int | None) -> Verification:
    return Verification(
        look.run.name,
        start,
        following,
        look.steps,
        list(look.findings.values()),
        look.run.numerics,
        numerics.fingerprint(),
    )


def _stretches(store: Store, run: RunRow) -> Iterator[Piece]:
    """From one kept checkpoint to the next, through the ancestors."""
    if not run.step:
        return
    for piece in pieces(store, run, 0, run.step):
        size = size_of(piece.run)
        every = checkpoint_every(piece.run.record, size, piece.run.total_steps)
        if piece.run.record == "full":
            # Vectors are compared too, and have to fit into memory.
            every = min(every, max(1, _VALUES // size // CHUNK_STEPS) * CHUNK_STEPS)
        at = piece.start
        while at < piece.stop:
            end = min((at // every + 1) * every, piece.stop)
            yield Piece(piece.run, at, end)
            at = end


def _chosen(stretches: Sequence[Piece], run: RunRow, sample: int | None) -> list[Piece]:
    """All, or some: drawn by the run's id, so that a verification in several parts looks at the same ones."""
    if sample is None or sample >= len(stretches):
        return list(stretches)
    drawn = stream(int(run.id.replace("-", "")[-12:], 16), "check").choice(len(stretches), sample, replace=False)
    return [stretches[int(i)] for i in sorted(drawn)]


def _bits(
    values: "np.ndarray[tuple[int, ...], np.dtype[np.floating]]",
) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    rows = np.ascontiguousarray(values).reshape(len(values), -1)
    return rows.view(np.uint8)
