"""Performance profiles, and what tuning is worth: the best of k trials, the sensitivity to the learning rate.

A profile says on how many problems an optimizer is within a factor τ of the fastest.

Source: Dahl et al., "Benchmarking Neural Network Training Algorithms" (AlgoPerf), 2023, section 4.3, after Dolan
and Moré, "Benchmarking optimization software with performance profiles", 2002.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from talweg.comparison.results import Floats

# AlgoPerf's r_max: whoever takes more than this many times as long as the fastest has missed.
R_MAX = 4.0


def ratios(times: ArrayLike) -> Floats:
    """r (S, P): each time over the least of its problem; infinite where it is, and where no one arrived.

    Args:
        times: (S, P), positive, of S optimizers on P problems; a target that was missed is infinite.
    """
    table = np.asarray(times, dtype=np.float64)
    least = table.min(axis=0)
    found = np.full(table.shape, np.inf)
    np.divide(table, least, out=found, where=np.isfinite(table))
    return found


def profile(times: ArrayLike, taus: ArrayLike) -> Floats:
    """ρ (S, K): the share of problems on which r ≤ τ_k."""
    shares: NDArray[np.float64] = np.mean(ratios(times)[:, :, None] <= np.asarray(taus)[None, None, :], axis=1)
    return shares


def profile_scores(times: ArrayLike, *, r_max: float = R_MAX) -> Floats:
    """The profiles' integrals (S,): the mean over problems of max(0, r_max − r) / (r_max − 1).

    1 where an optimizer is the fastest on every problem, 0 where it is never within the factor r_max. AlgoPerf
    integrates the same steps numerically, by trapezoids.
    """
    short = np.maximum(0.0, r_max - ratios(times)) / (r_max - 1.0)
    return np.asarray(short.mean(axis=1))


def expected_best(values: ArrayLike, *, replace: bool = True) -> Floats:
    """The expected least value (n,) of k = 1 … n trials drawn from n that were made.

    With replacement, as Dodge et al. have it, Σ_i v_(i) ((1 − (i − 1) / n)^k − (1 − i / n)^k) over the ascending
    values v_(1) ≤ … ≤ v_(n). Without it (what Tang et al. show to be unbiased), v_(i) has the weight
    C(n − i, k − 1) / C(n, k).

    A trial that diverged is infinite; then so is the expectation, as far as it may be drawn alone.

    Source: Dodge, Gururangan, Card, Schwartz, Smith, "Show Your Work: Improved Reporting of Experimental Results",
    2019, equation 6; Tang, Lee, Xin, Liu, Yu, Lin, "Showing Your Work Doesn't Always Work", 2020, section 3.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = ordered.size
    weights = _with_replacement(n) if replace else _without_replacement(n)
    # 0 times infinity is nothing here: a value that cannot be the least of k does not count.
    return np.array([float((ordered[row > 0] * row[row > 0]).sum()) for row in weights])


def _with_replacement(n: int) -> Floats:
    above = 1.0 - np.arange(n + 1) / n if n else np.empty(0)
    return np.array([above[:-1] ** k - above[1:] ** k for k in range(1, n + 1)])


def _without_replacement(n: int) -> Floats:
    """Row k − 1: C(n − i, k − 1) / C(n, k) for i = 1 … n, each from its neighbour, so that nothing overflows."""
    weights = np.zeros((n, n))
    for k in range(1, n + 1):
        weight = k / n
        for i in range(1, n - k + 2):
            weights[k - 1, i - 1] = weight
            weight *= (n - i - k + 1) / max(n - i, 1)
    return weights


def sensitivity(finals: Sequence[float], *, start: float) -> float:
    """Learning-rate sensitivity: how far the final cost is from its best, on average over the learning rates tried.

    mean_η (min(C(η), C_0) − min_η C(η)), where C_0 is the cost before the first step: what is worse than that, or
    diverged, counts as that.

    Source: Wortsman et al., "Small-scale proxies for large-scale Transformer training instabilities", 2023
    (arXiv 2309.14322), section 2.2.

    Args:
        finals: C(η) of each learning rate, evenly apart on a log scale; infinite or NaN where it diverged.
        start: C_0.
    """
    costs = np.asarray(finals, dtype=np.float64)
    costs = np.where(np.isnan(costs), np.inf, costs)
    held = np.minimum(costs, start)
    return float((held - held.min()).mean()) if held.size else float("nan")
