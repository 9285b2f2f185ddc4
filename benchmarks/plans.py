"""Do the planned numbers of seeds find the stated difference? On problems whose difference is known from many seeds.

    python benchmarks/plans.py [--seeds 1000] [--repetitions 400]

For each problem two optimizers train with many seeds, which gives the true ratio of their final costs. Each repetition
takes 3 seeds as its pilot: `plan` names a number of seeds for that ratio. So many other seeds are compared, as a study
compares them. The project requires that the difference is found in 80 % of the repetitions or more.
"""

import argparse
import math
import time

import numpy as np

from talweg.client.lab import PILOT_SEEDS
from talweg.comparison import Costs, Evaluations, Result, compare
from talweg.comparison.intervals import generator
from talweg.comparison.seeds import plan
from talweg.comparison.significance import differences
from talweg.spec import StudySpec
from talweg_core import Cohort, optimizers, problems

# Name, steps, batch size, and two settings that end close to each other.
CASES = (
    ("digits-mlp", 300, 32, ("momentum", {"learning_rate": 0.03}), ("adam", {"learning_rate": 0.003})),
    ("wine-mlp", 200, 16, ("momentum", {"learning_rate": 0.02}), ("nesterov", {"learning_rate": 0.02})),
    ("breast-cancer-logistic", 200, 32, ("adam", {"learning_rate": 0.01}), ("adam", {"learning_rate": 0.012})),
)
_AT_ONCE = 50


def final_costs(
    name: str, steps: int, batch_size: int, rule: str, settings: dict[str, float], seeds: int
) -> np.ndarray:
    """The validation cost after the last step, of each seed."""
    problem, found = problems.create(name), []
    for first in range(0, seeds, _AT_ONCE):
        batch = range(first, min(first + _AT_ONCE, seeds))
        rules = [optimizers.create(rule, **settings) for _ in batch]
        cohort = Cohort(problem, rules, list(batch), batch_size=batch_size)
        for _ in range(steps):
            cohort.advance()
        found += [cohort.evaluate(row, "validation")[0] for row in range(len(batch))]
    return np.array(found)


def pilot(costs: np.ndarray) -> list[Result]:
    """Results of (2, n) final costs."""
    return [
        Result(
            run=f"{position}-{seed}",
            optimizer={"name": "sgd", "learning_rate": 0.1 + position},
            seed=seed,
            state="finished",
            stop_reason="finished",
            costs=Costs.of([cost]),
            evaluations={"validation": Evaluations(np.array([0, 1]), np.array([cost, cost]))},
            contender=position,
            problem="pilot",
        )
        for position, row in enumerate(costs)
        for seed, cost in enumerate(row.tolist())
    ]


def main() -> None:
    """Print a line for each problem."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--repetitions", type=int, default=400)
    options = parser.parse_args()
    spec = StudySpec.model_validate(
        {"problem": {"name": "pilot"}, "seeds": PILOT_SEEDS}
        | {"optimizers": [{"name": "sgd", "learning_rate": 0.1 + i} for i in range(2)]}
    )
    print(f"{'problem':24} {'difference':>10} {'seeds, median':>14} {'found':>7}")
    for name, steps, batch_size, *rules in CASES:
        began = time.monotonic()
        costs = np.stack([final_costs(name, steps, batch_size, *rule, options.seeds) for rule in rules])
        better = int(np.log(costs[0]).mean() > np.log(costs[1]).mean())
        costs = costs[[better, 1 - better]]
        ratio = math.exp(float((np.log(costs[0]) - np.log(costs[1])).mean()))
        random, named, found = generator(), [], 0
        for _ in range(options.repetitions):
            order = random.permutation(options.seeds)
            seeds = plan(compare(spec, pilot(costs[:, order[:PILOT_SEEDS]])), 1 - ratio).seeds
            named.append(seeds)
            chosen = costs[:, order[PILOT_SEEDS : PILOT_SEEDS + seeds]]
            (difference,) = differences({str(i): dict(enumerate(row.tolist())) for i, row in enumerate(chosen)})
            found += difference.settled == -1
        took = time.monotonic() - began
        print(
            f"{name:24} {100 * (1 - ratio):8.1f} % {np.median(named):14.0f} {100 * found / options.repetitions:5.0f} %"
            f"   ({took:.0f} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
