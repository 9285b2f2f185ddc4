"""Coverage of intervals and rate of false claims, in simulated studies with known true values.

    python benchmarks/intervals.py [--studies 10000]

* Intervals of a mean difference over n seeds: how often the 95 % interval contains the true mean, by the distribution
  of the differences of two optimizers. The project requires 93 to 97 %; a share outside is marked.
* Claims: how often any of k equal optimizers, with the same seeds, is called better than another. At most 5 %. Costs of
  one seed share a random part, as runs with the same start and the same batches do. Few seeds are compared by a t test,
  more by a rank test; "until settled" adds seeds, up to the stated number, and tests after each addition.
* Profile scores over 8 problems: how often the 95 % interval over seeds contains the score of the true median times.

With 10,000 studies it takes about 15 minutes on one core. A short seeded form is in the test suite.
"""

import argparse
from collections.abc import Callable

import numpy as np

from talweg.comparison.intervals import generator, mean_interval, quantiles
from talweg.comparison.profiles import profile_scores
from talweg.comparison.significance import differences
from talweg.study_settings import ALPHA, UntilSettled, enough_seeds

_DRAWS = 400
SEEDS = (3, 4, 5, 6, 7, 8, 10, 14, 20)
AT_MOST = (20, 60)

Draw = Callable[[np.random.Generator, int], np.ndarray]
Costs = Callable[[np.random.Generator, int, int], np.ndarray]

DISTRIBUTIONS: dict[str, tuple[Draw, float]] = {
    "normal": (lambda random, n: random.normal(0.2, 1, n), 0.2),
    "heavy tails (t, 4 degrees)": (lambda random, n: random.standard_t(4, n) + 0.2, 0.2),
    "two Gumbels apart": (lambda random, n: random.gumbel(0.2, 1, n) - random.gumbel(0, 1, n), 0.2),
    "unequal variances (normal, 1 and 5)": (lambda random, n: random.normal(0.2, 1, n) - random.normal(0, 5, n), 0.2),
    "unequal, skewed (Gumbel, 1 and 0.2)": (
        lambda random, n: random.gumbel(0, 1, n) - random.gumbel(0, 0.2, n),
        0.8 * float(np.euler_gamma),
    ),
    "ties (to a fifth of the deviation)": (lambda random, n: np.round(random.normal(0, 5, n)), 0.0),
    "skewed (Gumbel)": (lambda random, n: random.gumbel(0, 1, n), float(np.euler_gamma)),
    "bounded (uniform)": (lambda random, n: random.uniform(-1, 1, n), 0.0),
    "very skewed (exponential)": (lambda random, n: random.exponential(1, n), 1.0),
}

# Logarithms of the costs (optimizers, seeds) of optimizers that are equal, about what a seed has in common.
EQUALS: dict[str, Costs] = {
    "skewed (Gumbel)": lambda random, k, n: random.gumbel(0, 0.5, (k, n)),
    "heavy tails (t, 3 degrees)": lambda random, k, n: random.standard_t(3, (k, n)),
    "unequal variances (1 to k)": lambda random, k, n: random.normal(0, 1, (k, n)) * np.arange(1, k + 1)[:, None],
    "ties (to a half of the deviation)": lambda random, k, n: np.round(2 * random.normal(0, 1, (k, n))) / 2,
    "a tenth of the runs diverging": lambda random, k, n: np.where(
        random.random((k, n)) < 0.1, np.inf, random.gumbel(0, 0.5, (k, n))
    ),
}


def coverage(draw: Draw, truth: float, seeds: int, studies: int, *, seed: int = 0) -> float:
    """The share of studies whose interval contains the true value."""
    random = generator(seed)
    return float(np.mean([mean_interval(draw(random, seeds)).holds(truth) for s in range(studies)]))


def false_claims(draw: Costs, optimizers: int, seeds: int, studies: int, *, seed: int = 0) -> float:
    """The share of studies of equal optimizers in which one is called better than another."""
    random = generator(seed)
    claimed = 0
    for _ in range(studies):
        costs = np.exp(random.normal(0, 1, seeds)[None, :] + draw(random, optimizers, seeds))
        scores = {f"optimizer {i}": dict(enumerate(row.tolist())) for i, row in enumerate(costs)}
        claimed += any(difference.settled for difference in differences(scores))
    return claimed / studies


def false_claims_until_settled(draw: Costs, optimizers: int, at_most: int, studies: int, *, seed: int = 0) -> float:
    """The same of studies that add seeds until they are settled: a claim at any look counts."""
    random = generator(seed)
    until = UntilSettled(at_most=at_most)
    first = enough_seeds(optimizers, alpha=ALPHA / len(until.looks(enough_seeds(optimizers))))
    looks, claimed = until.looks(first), 0
    for _ in range(studies):
        costs = np.exp(random.normal(0, 1, at_most)[None, :] + draw(random, optimizers, at_most))
        claimed += any(
            difference.settled
            for look in looks
            for difference in differences(
                {f"optimizer {i}": dict(enumerate(row[:look].tolist())) for i, row in enumerate(costs)},
                looks=len(looks),
            )
        )
    return claimed / studies


def score_coverage(seeds: int, studies: int, *, problems: int = 8, optimizers: int = 4, seed: int = 0) -> float:
    """The share of intervals of profile scores that contain the score of the true medians."""
    random, held = generator(seed), []
    for _ in range(studies):
        truth = np.exp(random.normal(5, 0.5, (optimizers, problems)))
        times = truth[:, :, None] * np.exp(random.normal(0, 0.2, (optimizers, problems, seeds)))
        resampled = random.integers(0, seeds, (_DRAWS, 1, problems, seeds))
        medians = np.median(np.take_along_axis(times[None], resampled, axis=3), axis=3)
        draws = np.array([profile_scores(table) for table in medians])
        for i, known in enumerate(profile_scores(truth)):
            low, high = quantiles(draws[:, i])
            held.append(low <= known <= high)
    return float(np.mean(held))


def _marked(share: float) -> str:
    """The share, with a star where it is outside 93 to 97."""
    return f"{share:.1f}" if 93 <= share <= 97 else f"*{share:.1f}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=10_000)
    studies = parser.parse_args().studies
    error = 100 * np.sqrt(0.05 * 0.95 / studies)
    print(f"Shares in %, of {studies:,} simulated studies each (standard error {error:.1f}).\n")
    print(f"{'95 % intervals with the true mean':40}" + "".join(f"{n:>6}" for n in SEEDS) + "  seeds")
    for name, (draw, truth) in DISTRIBUTIONS.items():
        shares = [100 * coverage(draw, truth, n, studies) for n in SEEDS]
        print(f"{name:40}" + "".join(f"{_marked(share):>6}" for share in shares), flush=True)
    for optimizers in (2, 4):
        said = f"{optimizers} equal optimizers, a false claim"
        print(f"\n{said:40}" + "".join(f"{n:>6}" for n in SEEDS) + "  seeds")
        for name, equals in EQUALS.items():
            shares = [100 * false_claims(equals, optimizers, n, studies) for n in SEEDS]
            print(f"{name:40}" + "".join(f"{share:6.1f}" for share in shares), flush=True)
    print(f"\n{'equals until settled, a false claim':40}" + "".join(f"{n:>6}" for n in AT_MOST) + "  seeds at most")
    for optimizers in (2, 4):
        for name, equals in EQUALS.items():
            shares = [100 * false_claims_until_settled(equals, optimizers, n, max(studies // 5, 1)) for n in AT_MOST]
            print(f"{f'{optimizers}: {name}':40}" + "".join(f"{share:6.1f}" for share in shares), flush=True)
    few = max(studies // 5, 1)
    print(f"\n{f'profile scores ({few} studies of 4)':40}" + "".join(f"{n:>6}" for n in SEEDS))
    print(
        f"{'95 % intervals with the true score':40}"
        + "".join(f"{_marked(100 * score_coverage(n, few)):>6}" for n in SEEDS)
    )


if __name__ == "__main__":
    main()
