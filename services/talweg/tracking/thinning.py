"""Which steps of a long run MLflow gets: evenly spaced ones, and the extremes of cost and gradient between them.

What is kept depends on the run's planned length alone, never on when it was sent, so sending a run twice, or
in other portions, keeps the same steps.
"""

from dataclasses import dataclass

import numpy as np

from talweg.comparison.curves import extremes
from talweg.comparison.results import Floats, Steps

# Points of a run, however many share a budget.
LEAST = 1000


@dataclass(frozen=True)
class Thinning:
    """How sparse each kind of metric is; all 1: everything is sent.

    Attributes:
        cost: of each so many steps the first, the cheapest and the costliest are kept.
        others: of each so many steps every other metric is kept at the first, and where the gradient's norm is least
            and greatest: they are the same steps in all, and a spike is in all of them. A multiple of `cost`.
        evaluations: of the evaluations each so many-th is kept.
    """

    cost: int = 1
    others: int = 1
    evaluations: int = 1

    @property
    def thins(self) -> bool:
        """Something is left out."""
        return self != Thinning()

    def __str__(self) -> str:
        """What is left out, as the run's tag says it."""
        parts = []
        if self.cost > 1:
            parts.append(f"cost: the first, least and greatest of every {self.cost} steps")
        if self.others > 1:
            words = f"the first of every {self.others} steps, and those with the least and the greatest gradient norm"
            parts.append(f"other metrics: {words}")
        if self.evaluations > 1:
            parts.append(f"evaluations: every {_ordinal(self.evaluations)}")
        return "; ".join([*parts, "and always the last"]) if parts else "none: every step is here"


@dataclass(frozen=True)
class Budget:
    """About how many points MLflow is to take.

    A study of many runs has fewer points a run: a server takes some 5,000 a second, and its charts ask for 320 a line.
    Which steps are kept follows from the study as it was submitted, with all its stages.

    Attributes:
        run: the most of one run.
        study: of all runs of a study together; but each has LEAST in any case.
    """

    run: int = 50_000
    study: int = 300_000

    def share(self, runs: int) -> int:
        """What one of so many runs may take."""
        return min(self.run, max(self.study // runs, LEAST))


def thinning(steps: int, *, others: int, evaluations: int, per_evaluation: int, budget: int) -> Thinning:
    """The thinning that keeps a run of `steps` steps within about `budget` points.

    Cost comes first: it keeps every step as long as that takes half of the budget at most. Evaluations may take
    an eighth. The rest is shared by the `others` metrics of a step.
    """
    if steps * (1 + others) + evaluations * per_evaluation <= budget:
        return Thinning()
    cost = 1 if steps <= budget // 2 else -(-3 * steps // (budget // 2))
    every = max(1, -(-evaluations * per_evaluation // max(budget // 8, 1)))
    left = budget - min(steps, budget // 2) - -(-evaluations // every) * per_evaluation
    # The last step is sent besides, and the last of the stretches may be a short one.
    width = 1 if steps * others <= left else -(-3 * steps * others // max(left - 4 * others, 1))
    return Thinning(cost, -(-min(width, steps) // cost) * cost, every)


def kept_steps(values: Floats, width: int, *, ended: bool) -> Steps:
    """Which of these steps are kept, ascending, by their values; the first must begin a bucket of `width` steps.

    A last bucket that is not full keeps its first step only, until it is full or the run has `ended`.
    """
    count = len(values)
    if width == 1:
        return np.arange(count)
    full = count if ended else count // width * width
    kept = [np.arange(0, count, width), extremes(values[:full], width) if full else np.empty(0, dtype=np.int64)]
    return np.unique(np.concatenate([*kept, [count - 1] if ended and count else []]).astype(np.int64))


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
