"""Coverage of intervals and rate of false claims, in simulated studies with known true values.

    python benchmarks/intervals.py [--studies 10000]

* Intervals of a mean difference over n seeds: how often the 95 % interval contains the true mean, by the distribution
  of the differences of two optimizers. The project requires 93 to 97 %; a share outside is marked.
* Claims: how often any of k equal optimizers, with the same seeds, is called better than another. At most 5 %. Costs of
  one seed share a random part, as runs with the same start and the same batches do; "diverging" loses a tenth of the
  runs.
* Profile scores over 8 problems: how often the 95 % interval over seeds contains the score of the true median times.

With 10,000 studies it takes about eight minutes on one core. A short seeded form is in the test suite.
"""

import argparse
from collections.abc import Callable

import numpy as np

from talweg.comparison.intervals import differences, generator, mean_interval, quantiles
from talweg.comparison.profiles import profile_scores

_DRAWS = 400

Draw = Callable[[np.random.Generator, int], np.ndarray]

DISTRIBUTIONS: dict[str, tuple[Draw, float]] = {
    "normal": (lambda random, n: random.normal(0.2, 1, n), 0.2),
    "heavy tails (t, 4 degrees)": (lambda random, n: random.standard_t(4, n) + 0.2, 0.2),
    "two Gumbels apart": (lambda random, n: random.gumbel(0.2, 1, n) - random.gumbel(0, 1, n), 0.2),
    "skewed (Gumbel)": (lambda random, n: random.gumbel(0, 1, n), float(np.euler_gamma)),
    "bounded (uniform)": (lambda random, n: random.uniform(-1, 1, n), 0.0),
    "very skewed (exponential)": (lambda random, n: random.exponential(1, n), 1.0),
}


def coverage(draw: Draw, truth: float, seeds: int, studies: int, *, seed: int = 0) -> float:
    """The share of studies whose interval contains the true value."""
    random = generator(seed)
    return float(np.mean([mean_interval(draw(random, seeds), seed=s).holds(truth) for s in range(studies)]))


def false_claims(optimizers: int, seeds: int, studies: int, *, lost: float = 0.0, seed: int = 0) -> float:
    """The share of studies of equal optimizers in which one is called better than another."""
    random = generator(seed)
    claimed = 0
    for s in range(studies):
        common = random.normal(0, 1, seeds)
        costs = np.exp(common[None, :] + random.gumbel(0, 0.5, (optimizers, seeds)))
        costs[random.random(costs.shape) < lost] = np.inf
        scores = {f"optimizer {i}": dict(enumerate(row.tolist())) for i, row in enumerate(costs)}
        claimed += any(difference.settled for difference in differences(scores, seed=s))
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
    counts = (5, 6, 8, 10, 20)
    print(f"{'95 % intervals with the true mean':40}" + "".join(f"{n:>4} seeds" for n in counts))
    for name, (draw, truth) in DISTRIBUTIONS.items():
        shares = [100 * coverage(draw, truth, n, studies) for n in counts]
        print(f"{name:40}" + "".join(f"{_marked(share):>10}" for share in shares), flush=True)
    print(f"\n{'studies of equals with a false claim':40}" + "".join(f"{n:>4} seeds" for n in counts[1:]))
    for optimizers, lost in ((2, 0.0), (2, 0.1), (4, 0.0)):
        shares = [100 * false_claims(optimizers, n, studies, lost=lost) for n in counts[1:]]
        name = f"{optimizers} optimizers" + (", a tenth of the runs diverging" if lost else "")
        print(f"{name:40}" + "".join(f"{share:10.1f}" for share in shares), flush=True)
    few = max(studies // 5, 1)
    print(f"\n{f'profile scores ({few} studies of 4)':40}" + "".join(f"{n:>4} seeds" for n in counts))
    print(
        f"{'95 % intervals with the true score':40}"
        + "".join(f"{_marked(100 * score_coverage(n, few)):>10}" for n in counts)
    )


if __name__ == "__main__":
    main()
