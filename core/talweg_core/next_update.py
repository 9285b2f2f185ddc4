"""From one recorded state: the update that an optimizer would make, and what it would do to the cost."""

from dataclasses import dataclass
from math import acos, degrees

import numpy as np

from talweg_core.cohort import Cohort
from talweg_core.layout import Array


@dataclass(frozen=True, eq=False)
class NextUpdate:
    """One optimizer's answer.

    Attributes:
        update: θ_{t+1} − θ_t (P,), in float64.
        angle: Between the update and −g_t, in degrees; None where either is zero or not finite.
        cost: C(θ_t; B_t).
        cost_after: C(θ_{t+1}; B_t), on the same batch.
    """

    optimizer: str
    learning_rate: float
    update: Array
    angle: float | None
    cost: float
    cost_after: float

    @property
    def size(self) -> float:
        """The update's Euclidean norm."""
        return float(np.linalg.norm(self.update))


def next_update(cohort: Cohort) -> NextUpdate:
    """Let a cohort of one run make its step, in place, and say what it was."""
    step, before = cohort.step, cohort.parameters[0].astype(np.float64)
    record = cohort.advance()
    gradient = record.gradient[0].astype(np.float64)
    with np.errstate(all="ignore"):
        update = cohort.parameters[0].astype(np.float64) - before
    # The batch and the noise are the step's that was made.
    cohort.step = step
    after = float(cohort.costs()[0])
    cohort.step = step + 1
    return NextUpdate(
        optimizer=cohort.optimizers[0].name,
        learning_rate=float(record.learning_rates[0]),
        update=update,
        angle=_angle(update, -gradient),
        cost=float(record.costs[0]),
        cost_after=after,
    )


def _angle(one: Array, other: Array) -> float | None:
    with np.errstate(all="ignore"):
        sizes = float(np.linalg.norm(one) * np.linalg.norm(other))
    if not 0 < sizes < np.inf:
        return None
    return degrees(acos(max(-1.0, min(1.0, float(one @ other) / sizes))))
