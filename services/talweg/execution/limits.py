"""How long runs may train: `max_seconds` of their specs, counted over all attempts."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from talweg.spec import RunSpec
from talweg.store import RunRow


class TimeLimits:
    """What is left to each run of a cohort.

    A run's time is what its record says: its share of gradient and update of the steps that were committed, whoever
    made them. So a limit means the same alone and in company, and what an attempt lost does not count. It ends a run
    between two steps and changes none of them.
    """

    def __init__(self, runs: Sequence[RunRow]) -> None:
        """`runs` by their row in the cohort that trains, as they were claimed."""
        limits = [RunSpec.model_validate(run.spec).max_seconds for run in runs]
        self._left = np.array(
            [np.inf if most is None else most - run.trained_seconds for most, run in zip(limits, runs, strict=True)]
        )
        self._any = bool(np.isfinite(self._left).any())

    def over(self, seconds: NDArray[np.float64], active: NDArray[np.bool_]) -> list[int]:
        """The active runs whose time is up, having trained for `seconds` (R,) since they were claimed."""
        return [int(row) for row in np.flatnonzero(active & (seconds >= self._left))] if self._any else []
