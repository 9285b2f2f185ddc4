"""Runs made by hand, for comparisons whose numbers can be worked out on paper."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from talweg.comparison import Evaluations, Result

MakeResult = Callable[..., Result]


@pytest.fixture
def result() -> MakeResult:
    """Make a run: `result("adam", seed=1, costs=[3, 2, 1], validation=[0.5], accuracy=[0.9])`."""

    def make(
        optimizer: str = "adam",
        *,
        seed: int = 0,
        costs: Sequence[float] = (3.0, 2.0, 1.0),
        validation: Sequence[float] | None = None,
        accuracy: Sequence[float] | None = None,
        state: str = "finished",
        stop_reason: str | None = "finished",
        **settings: float | bool,
    ) -> Result:
        evaluations = {}
        if validation is not None:
            metrics = None if accuracy is None else np.array(accuracy)
            steps = np.arange(1, len(validation) + 1)
            evaluations["validation"] = Evaluations(steps, np.array(validation), metrics)
        return Result(
            run=f"{optimizer}-{seed}",
            optimizer={"name": optimizer, "learning_rate": 0.1, **settings},
            seed=seed,
            state=state,
            stop_reason=stop_reason,
            costs=np.array(costs, dtype=np.float64),
            evaluations=evaluations,
            metric=None if accuracy is None else "accuracy",
        )

    return make
