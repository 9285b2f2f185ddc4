"""The examples behind one gradient."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.errors import NoSuchStep
from talweg.records.lineage import owner
from talweg.records.rebuild import cohort_of
from talweg.spec import RunSpec
from talweg.store import RunRow, Store
from talweg_core.problems import NetworkProblem


@dataclass(frozen=True, eq=False)
class Batch:
    """Positions (B,) in the training split, and what stands there; None where the problem has no examples."""

    indices: NDArray[np.int64]
    inputs: NDArray[Any] | None
    targets: NDArray[Any] | None


def batch(store: Store, run: RunRow, step: int) -> Batch:
    """What the gradient of `step` was taken over; raises NoSuchStep where that step is not recorded."""
    if not 0 <= step < run.step:
        raise NoSuchStep(f"run {run.name}: has batches of the steps 0 to {run.step - 1}, got {step}")
    cohort = cohort_of([RunSpec.model_validate(owner(store, run, step).spec)])
    indices = cohort.batch(0, step)
    if not isinstance(cohort.problem, NetworkProblem):
        return Batch(indices, None, None)
    inputs, targets = cohort.problem.dataset.part("train")
    return Batch(indices, inputs[indices], np.asarray(targets[indices]))
