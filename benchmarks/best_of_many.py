"""How much worse is the best of many settings on fresh seeds than on those that chose it (the optimizer's curse)?

    python benchmarks/best_of_many.py [--settings 50] [--seeds 10] [--fresh 50] [--repetitions 200]

On three problems Adam trains at settings near its best: learning rates within a factor 2 of it, and four β₂. Each
repetition draws some of the seeds, chooses the setting with the least median final cost, and judges it on fresh seeds.
`bias` is the geometric mean of cost on fresh seeds over cost on the choosing seeds, `guard` the mean of what a study of
these runs is told by its guard, which halves its own seeds: it chooses by half as many, so it should say more.
"""

import argparse
import math

import numpy as np

from talweg.comparison.guards import choice_bias
from talweg.comparison.intervals import generator
from talweg_core import Cohort, optimizers, problems

# Name, steps, batch size, and a good learning rate.
CASES = (
    ("digits-mlp", 300, 32, 0.006),
    ("wine-mlp", 200, 16, 0.02),
    ("breast-cancer-logistic", 200, 32, 0.02),
)
BETAS = (0.9, 0.97, 0.99, 0.999)
_AT_ONCE = 200


def final_costs(name: str, steps: int, batch_size: int, settings: list[tuple[float, float]], seeds: int) -> np.ndarray:
    """(settings, seeds) the validation cost after the last step; infinite where it is no number."""
    problem, found = problems.create(name), []
    runs = [(rate, beta, seed) for rate, beta in settings for seed in range(seeds)]
    for first in range(0, len(runs), _AT_ONCE):
        some = runs[first : first + _AT_ONCE]
        rules = [optimizers.create("adam", learning_rate=rate, beta2=beta) for rate, beta, _ in some]
        cohort = Cohort(problem, rules, [seed for _, _, seed in some], batch_size=batch_size)
        for _ in range(steps):
            cohort.advance()
        found += [cohort.evaluate(row, "validation")[0] for row in range(len(some))]
    costs = np.array(found).reshape(len(settings), seeds)
    return np.where(np.isfinite(costs), costs, np.inf)


def biases(costs: np.ndarray, seeds: int, repetitions: int) -> tuple[float, float]:
    """The true bias and the guard's, in percent."""
    random, true, said = generator(), [], []
    for _ in range(repetitions):
        order = random.permutation(costs.shape[1])
        choosing, fresh = costs[:, order[:seeds]], costs[:, order[seeds:]]
        medians = np.median(choosing, axis=1)
        best = int(np.argmin(medians))
        true.append(math.log(np.median(fresh[best]) / medians[best]))
        told = choice_bias([dict(enumerate(row.tolist())) for row in choosing])
        if told is not None:
            said.append(told)
    return 100 * math.expm1(float(np.mean(true))), float(np.mean(said))


def main() -> None:
    """Print a line for each problem and number of settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--fresh", type=int, default=50)
    parser.add_argument("--repetitions", type=int, default=200)
    arguments = parser.parse_args()
    print(f"{'problem':24} {'settings':>8} {'seeds':>6} {'bias':>8} {'guard':>8}")
    for name, steps, batch_size, rate in CASES:
        rates = rate * 2 ** np.linspace(-1, 1, -(-arguments.settings // len(BETAS)))
        settings = [(float(each), beta) for each in rates for beta in BETAS][: arguments.settings]
        costs = final_costs(name, steps, batch_size, settings, arguments.seeds + arguments.fresh)
        order = generator(1).permutation(len(settings))
        for count in sorted({3, 10, len(settings)}):
            bias, guard = biases(costs[order[:count]], arguments.seeds, arguments.repetitions)
            print(f"{name:24} {count:8} {arguments.seeds:6} {bias:+7.1f} % {guard:+7.1f} %", flush=True)


if __name__ == "__main__":
    main()
