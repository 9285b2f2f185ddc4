"""What one derivative of a recorded step meant, and how the optimizer answered."""

from collections.abc import Sequence

import numpy as np

from talweg.records.reading import records
from talweg.records.rebuild import cohort_of, engine_rules
from talweg.spec import RunSpec
from talweg.store import RunRow, Store
from talweg_core import explain as engine
from talweg_core.explain import Explanation as Explanation


def explain(
    store: Store, run: RunRow, step: int, tensor: str, index: Sequence[int] = (), *, nudge: float | None = None
) -> Explanation:
    """One coordinate at one step: its derivative, what a nudge does to the cost in truth, and the update made.

    `tensor` is a name as in `run.tensors`, `index` says which element of it. Without `nudge` the largest is taken at
    which the derivative still holds.

    Raises:
        InvalidSpec: No tensor of that name, or an index outside it; names the nearest.
        NoSuchStep: The run has not made that step.
    """
    spec = RunSpec.model_validate(run.spec)
    before, after = records(store, run, "parameters", step, step + 2)
    cohort = cohort_of([spec])
    cohort.parameters[0], cohort.step = before, step
    with engine_rules():
        position = cohort.problem.layout.position(tensor, tuple(index))
        update = float(np.float64(after[position]) - np.float64(before[position]))
        return engine.explain(cohort, 0, tensor, tuple(index), update=update, nudge=nudge)
