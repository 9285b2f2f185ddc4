"""Paired tests between optimizers: which differences the seeds alone do not explain.

Two bases of an answer. `rank`: Wilcoxon's signed-rank test, exact, which assumes nothing of the distribution but needs
`seeds_needed` pairs before it can settle anything. `t`: with fewer pairs, Student's paired t test of the log of the
cost, which assumes that the differences are roughly normal. Which one a comparison uses depends on the number of pairs
alone, never on the values, so that no one can choose the test that says more. Under either, the 95 % interval must
agree.

Up to `PAIRWISE` optimizers every two are compared, under Holm's correction. Of more, the best is compared with each of
the others: those that it beats are not the best (comparison with the best), under Bonferroni's correction, since the
best is chosen by the same data.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from talweg.comparison.intervals import Interval, exponential, mean_interval
from talweg.comparison.results import Floats
from talweg.comparison.times import median_time
from talweg.study_settings import ALPHA, PAIRWISE, seeds_needed

# Up to so many pairs the test is exact; of more the normal distribution is as good.
_EXACT = 200

Basis = Literal["rank", "t"]


@dataclass(frozen=True)
class Difference:
    """How `first` did against `second` on the seeds that both have; less is better.

    Attributes:
        pairs: seeds in common, diverged ones among them.
        measured: how many of these have two finite values, which `interval` is of.
        relative: whether `interval` is of the ratio first / second (its geometric mean), else of first − second.
        interval: None where no pair has two finite values.
        spread: the standard deviation of what `interval` is the mean of, of the logarithms where it is a ratio; NaN of
            fewer than two.
        lean: −1 where the signed ranks are on the side of first, 1 on that of second, 0 on neither.
        p: of the test that neither is better, two-sided; `adjusted` is corrected for all comparisons of the family.
        basis: the test that p is of.
    """

    first: str
    second: str
    pairs: int
    measured: int
    relative: bool
    interval: Interval | None
    spread: float
    lean: int
    p: float
    adjusted: float
    basis: Basis

    @property
    def neutral(self) -> float:
        """What the interval's value is where neither is better."""
        return 1.0 if self.relative else 0.0

    @property
    def settled(self) -> int:
        """−1: first is better. 1: second is. 0: that cannot be said.

        The test decides, corrected for how many were made, and the interval must agree. Where runs are lost, the
        interval knows only of those that are left: then it is enough that it does not say the opposite.
        """
        if self.adjusted > ALPHA:
            return 0
        found = 0 if self.interval is None else self._outside(self.interval)
        if self.measured < self.pairs:
            return 0 if found == -self.lean else self.lean
        return found

    def _outside(self, interval: Interval) -> int:
        if interval.high < self.neutral:
            return -1
        return 1 if interval.low > self.neutral else 0


def differences(scores: Mapping[str, Mapping[int, float]], *, looks: int = 1, seed: int = 0) -> list[Difference]:
    """Every two of the optimizers, or of more than `PAIRWISE` the best with each of the others; corrected together.

    Args:
        scores: of each optimizer its value by seed; infinite where the run diverged.
        looks: how often the study may be looked at before it ends; each p is corrected for that too (Bonferroni).
        seed: of the resampling.

    Source: Holm 1979; for many, Hsu, "Constrained Simultaneous Confidence Intervals for Multiple Comparisons with the
    Best", 1984: an optimizer that loses against any other at level α / (k − 1) is not the best of the k, and all such
    statements are true together in 1 − α of studies. The test here is two-sided, which errs on the safe side.
    """
    values = [value for by_seed in scores.values() for value in by_seed.values() if math.isfinite(value)]
    # Costs span decades: where all are positive, their ratios are what compares them.
    relative = bool(values) and min(values) > 0
    many = len(scores) > PAIRWISE
    if many:
        best = min(scores, key=lambda name: median_time(scores[name].values()))
        pairs = [(best, name) for name in scores if name != best]
    else:
        pairs = list(itertools.combinations(scores, 2))
    needed = seeds_needed(len(pairs), alpha=ALPHA / looks)
    found = [_difference(scores, first, second, relative, needed, seed) for first, second in pairs]
    p = [difference.p for difference in found]
    corrected = [len(p) * each for each in p] if many else holm(p)
    return [replace(d, adjusted=min(1.0, looks * each)) for d, each in zip(found, corrected, strict=True)]


def _difference(
    scores: Mapping[str, Mapping[int, float]], first: str, second: str, relative: bool, needed: int, seed: int
) -> Difference:
    mine, other = scores[first], scores[second]
    pairs = np.array([(mine[s], other[s]) for s in sorted(mine.keys() & other.keys())], dtype=np.float64).reshape(-1, 2)
    finite = pairs[np.isfinite(pairs).all(axis=1)]
    interval, spread = None, math.nan
    if len(finite):
        apart = _apart(finite, relative)
        spread = float(apart.std(ddof=1)) if len(apart) > 1 else math.nan
        interval = mean_interval(apart, seed=seed)
        if relative:
            interval = exponential(interval)
    with np.errstate(invalid="ignore"):
        # Two that both diverged are equal: the difference of two infinities is not a number.
        raw = np.where(pairs[:, 0] == pairs[:, 1], 0.0, _apart(pairs, relative))
    basis: Basis = "rank" if len(pairs) >= needed else "t"
    p = signed_rank_test(raw) if basis == "rank" else paired_t_test(raw)
    lean = int(np.sign(_ranks(np.abs(raw)) @ np.sign(raw))) if raw.size else 0
    return Difference(first, second, len(pairs), len(finite), relative, interval, spread, lean, p, p, basis)


def _apart(pairs: Floats, relative: bool) -> Floats:
    first, second = (np.log(pairs) if relative else pairs).T
    return np.asarray(first - second)


def paired_t_test(differences: ArrayLike) -> float:
    """The two-sided p of Student's paired t test: t = m / (s / √n) with n − 1 degrees of freedom.

    1 where it has no answer: of fewer than two pairs, of pairs that are not finite (a run that diverged), and of pairs
    that do not differ from each other, whose spread is not known.

    Source: Student, "The Probable Error of a Mean", 1908.
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.size < 2 or not np.isfinite(d).all():
        return 1.0
    error = d.std(ddof=1) / math.sqrt(d.size)
    if error <= 1e-12 * np.abs(d).max():
        return 1.0
    # scipy takes a tenth of a second to import.
    from scipy.special import stdtr

    return float(2 * stdtr(d.size - 1, -abs(d.mean()) / error))


def signed_rank_test(differences: ArrayLike) -> float:
    """The two-sided p of Wilcoxon's signed-rank test, exact for up to 200 pairs.

    Were neither better, each difference would have either sign alike, whatever its distribution. Ranks are of |d|,
    equal ones share theirs, an infinite one (a run that diverged) has the greatest, and a difference of 0 counts
    for neither side (Pratt).

    Source: Wilcoxon, "Individual Comparisons by Ranking Methods", 1945; Pratt, "Remarks on Zeros and Ties in the
    Wilcoxon Signed Rank Procedures", 1959.
    """
    d = np.asarray(differences, dtype=np.float64)
    # Shared ranks are halves: doubled, all are whole numbers.
    ranks = np.rint(2 * _ranks(np.abs(d))[d != 0]).astype(np.int64)
    if not ranks.size:
        return 1.0
    positive = int(ranks[d[d != 0] > 0].sum())
    return _two_sided(tuple(np.sort(ranks).tolist()), positive)


def _two_sided(ranks: tuple[int, ...], positive: int) -> float:
    """P(|W| ≥ the observed), W the sum of the signed ranks, whose variance is the sum of their squares."""
    total = sum(ranks)
    if len(ranks) > _EXACT:
        return math.erfc(abs(2 * positive - total) / math.sqrt(2 * sum(rank * rank for rank in ranks)))
    sums = np.arange(total + 1)
    extreme = np.abs(2 * sums - total) >= abs(2 * positive - total)
    return float(_distribution(ranks)[extreme].sum())


@lru_cache(maxsize=64)
def _distribution(ranks: tuple[int, ...]) -> Floats:
    """P(the ranks with a positive sign sum to s), s = 0 … Σ ranks, where each sign is as likely as the other."""
    share = np.zeros(sum(ranks) + 1)
    share[0] = 1.0
    for rank in ranks:
        moved = np.zeros_like(share)
        moved[rank:] = share[: share.size - rank]
        share = (share + moved) / 2
    return share


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
