"""Instruments read off at chosen steps of a run, some at a time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from talweg.errors import InvalidSpec, NoSuchStep
from talweg.records.instruments.base import Instrument, step_windows
from talweg.records.instruments.kinds import (
    Alpha,
    Distance,
    GradientCosine,
    GradientHistogram,
    GradientNorm,
    GradientSnr,
    HessianEigenvalue,
    ParameterHistogram,
    UpdateRatio,
)
from talweg.store import RunRow, Store
from talweg_core.errors import UnknownName
from talweg_core.layout import Array

INSTRUMENTS: Final[dict[str, Instrument]] = {
    made.name: made
    for made in (
        GradientNorm(), UpdateRatio(), Distance(), GradientCosine(), GradientSnr(), Alpha(), HessianEigenvalue(),
        GradientHistogram(), ParameterHistogram(),
    )
}  # fmt: skip
# Numbers in one answer.
_MOST = 100_000


@dataclass(frozen=True, eq=False)
class Measured:
    """What instruments showed at `steps`: `columns` of each by its name, and `rows` (n, columns of all of them).

    Attributes:
        next: The step at which to go on; None where all that was asked for is here.
        left_out: Why instruments that nobody named have nothing to say of this run, by their names.
    """

    columns: dict[str, list[str]]
    steps: list[int]
    rows: Array
    next: int | None
    left_out: dict[str, str]


def measure(
    store: Store, run: RunRow, names: Sequence[str], steps: range, *, seconds: float = float("inf")
) -> Measured:
    """Instruments by name, or all of them, at ascending steps: so many as there is time and room for, one at least.

    Raises:
        InvalidSpec: There is no instrument of one of the names (names the nearest), or it has nothing to say of such a
            run.
        NoSuchStep: One of the steps is not recorded (yet).
        ReplayDiverged, CorruptRecord: Where the record cannot be read.
    """
    for name in names:
        if name not in INSTRUMENTS:
            raise InvalidSpec(str(UnknownName("instrument", name, INSTRUMENTS)))
    if not steps or steps.step < 1 or not 0 <= steps[0] <= steps[-1] < run.step:
        raise NoSuchStep(f"run {run.name}: has instruments of the steps 0 to {run.step - 1}, got {_said(steps)}")
    chosen = [INSTRUMENTS[name] for name in dict.fromkeys(names or INSTRUMENTS)]
    columns = {made.name: made.columns(run) for made in chosen}
    most = max(1, _MOST // sum(map(len, columns.values())))
    until, rows, left_out = time.monotonic() + seconds, list[Array](), dict[str, str]()

    def enough() -> bool:
        return len(rows) >= min(most, len(steps)) or (bool(rows) and time.monotonic() >= until)

    for at in step_windows(store, run, chosen, steps, enough):
        with np.errstate(all="ignore"):
            if not rows:
                refused = {made.name: why for made in chosen if (why := made.check(at)) is not None}
                for name, why in refused.items():
                    if names:
                        raise InvalidSpec(f"{name}: {why}")
                    left_out[name] = why
                chosen = [made for made in chosen if made.name not in refused]
            rows.append(np.concatenate([made.measure(at) for made in chosen]))
    return Measured(
        columns={made.name: columns[made.name] for made in chosen},
        steps=list(steps[: len(rows)]),
        rows=np.stack(rows),
        next=steps[len(rows)] if len(rows) < len(steps) else None,
        left_out=left_out,
    )


def _said(steps: range) -> str:
    if len(steps) < 2:
        return str(steps.start)
    return f"{steps[0]} to {steps[-1]}" + (f" by {steps.step}" if steps.step != 1 else "")
