"""Two optimizers on the same seeds: by how much they differ, how sure that is, and whether it may be said.

The same seed gives every optimizer the same start and the same batches, so what differs between two runs of one
seed is the optimizer, and differences over seeds are compared, not means of heaps.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from talweg.comparison.intervals import Interval, exponential, generator, mean_interval
from talweg.comparison.results import Floats

ALPHA = 0.05
# Up to this many pairs all signs are tried: 2^14 sums.
_EXACT = 14
_FLIPS = 20_000


@dataclass(frozen=True)
class Difference:
    """How `first` did against `second` on the seeds that both have; less is better.

    Attributes:
        pairs: seeds in common, diverged ones among them.
        measured: how many of these have two finite values, which `interval` is of.
        relative: whether `interval` is of the ratio first / second (its geometric mean), else of first − second.
        interval: None where no pair has two finite values.
        p: of the test that neither is better; `adjusted` is Holm's, over all comparisons of the study.
        least_p: the least that so many pairs can give.
    """

    first: str
    second: str
    pairs: int
    measured: int
    relative: bool
    interval: Interval | None
    p: float
    adjusted: float
    least_p: float

    @property
    def neutral(self) -> float:
        """What the interval's value is where neither is better."""
        return 1.0 if self.relative else 0.0

    @property
    def settled(self) -> int:
        """−1: first is better. 1: second is. 0: that cannot be said.

        Both must agree: the test, corrected for how many were made, and the interval, where there is one.
        """
        if self.adjusted > ALPHA:
            return 0
        if self.interval is None:
            return 0
        if self.interval.high < self.neutral:
            return -1
        return 1 if self.interval.low > self.neutral else 0


def differences(scores: Mapping[str, Mapping[int, float]], *, seed: int = 0) -> list[Difference]:
    """Every two of the optimizers, corrected together.

    Args:
        scores: of each optimizer its value by seed; infinite where the run diverged.
        seed: of the resampling.
    """
    found = []
    values = [value for by_seed in scores.values() for value in by_seed.values() if math.isfinite(value)]
    # Costs span decades: where all are positive, their ratios are what compares them.
    relative = bool(values) and min(values) > 0
    for (first, mine), (second, other) in itertools.combinations(scores.items(), 2):
        seeds = sorted(mine.keys() & other.keys())
        pairs = np.array([(mine[s], other[s]) for s in seeds], dtype=np.float64).reshape(-1, 2)
        found.append(_difference(first, second, pairs, relative, seed))
    corrected = holm([difference.p for difference in found])
    return [Difference(**(vars(difference) | {"adjusted": p})) for difference, p in zip(found, corrected, strict=True)]


def _difference(first: str, second: str, pairs: Floats, relative: bool, seed: int) -> Difference:
    finite = pairs[np.isfinite(pairs).all(axis=1)]
    interval = None
    if len(finite):
        interval = mean_interval(_apart(finite, relative), seed=seed)
        if relative:
            interval = exponential(interval)
    with np.errstate(invalid="ignore"):
        # Two that both diverged are equal: infinity less infinity says nothing of itself.
        raw = np.where(pairs[:, 0] == pairs[:, 1], 0.0, _apart(pairs, relative))
    p = signed_rank_test(raw, seed=seed)
    return Difference(first, second, len(pairs), len(finite), relative, interval, p, p, least_p(len(pairs)))


def _apart(pairs: Floats, relative: bool) -> Floats:
    first, second = (np.log(pairs) if relative else pairs).T
    return np.asarray(first - second)


def least_p(pairs: int) -> float:
    """The least p that the signed-rank test can give for so many pairs: 2 / 2^n."""
    return min(1.0, 2.0 ** (1 - pairs))


def seeds_needed(comparisons: int, *, alpha: float = ALPHA) -> int:
    """The least n with which the smallest of m = `comparisons` corrected p can be ≤ alpha: 2^(1−n) ≤ α / m."""
    return math.ceil(1 + math.log2(max(comparisons, 1) / alpha))


def signed_rank_test(differences: ArrayLike, *, seed: int = 0) -> float:
    """The two-sided p of Wilcoxon's signed-rank test by flipping signs: exact for up to 14 pairs, else 20,000 draws.

    Were neither better, each difference would have either sign alike, whatever its distribution. Ranks are of |d|,
    equal ones share theirs, an infinite one (a run that diverged) has the greatest, and a difference of 0 counts
    for neither side (Pratt).

    Source: Wilcoxon, "Individual Comparisons by Ranking Methods", 1945; Pratt, "Remarks on Zeros and Ties in the
    Wilcoxon Signed Rank Procedures", 1959.
    """
    d = np.asarray(differences, dtype=np.float64)
    ranks = _ranks(np.abs(d))[d != 0]
    signs = np.sign(d)[d != 0]
    n = ranks.size
    if n == 0:
        return 1.0
    observed = abs(float(ranks @ signs))
    if n <= _EXACT:
        flips = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float(np.mean(np.abs(flips @ ranks) >= observed - 1e-9))
    flips = 1 - 2 * generator(seed).integers(0, 2, size=(_FLIPS, n), dtype=np.int8)
    # The data themselves are one of the flips: so p is never 0, and never too small.
    return float((1 + np.sum(np.abs(flips @ ranks) >= observed - 1e-9)) / (1 + _FLIPS))


def _ranks(values: Floats) -> Floats:
    """From 1; equal values share the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2)[place])


def holm(p: Sequence[float]) -> list[float]:
    """Holm's corrected p: with these ≤ α, no true hypothesis of the family is rejected in more than α of studies.

    p_(i) becomes max over j ≤ i of min(1, (m − j + 1) p_(j)).

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
    """
    order = np.argsort(p)
    corrected, greatest = [0.0] * len(p), 0.0
    for place, index in enumerate(order):
        greatest = max(greatest, min(1.0, (len(p) - place) * p[index]))
        corrected[index] = greatest
    return corrected
