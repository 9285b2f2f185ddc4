"""Performance profiles, the expected best of k trials, and the sensitivity to the learning rate.

A profile is the share of problems on which an optimizer is within a factor τ of the fastest.

Source: Dahl et al., "Benchmarking Neural Network Training Algorithms" (AlgoPerf), 2023, section 4.3, after Dolan
and Moré, "Benchmarking optimization software with performance profiles", 2002.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from talweg.comparison.results import Floats

# AlgoPerf's r_max: an optimizer that takes more than this many times as long as the fastest has missed the target.
R_MAX = 4.0


def ratios(times: ArrayLike) -> Floats:
    """r (S, P): each time over the least of its problem; infinite for a missed target.

    Args:
        times: (S, P), positive, of S optimizers on P problems; infinite for a missed target.
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

    1 for an optimizer that is the fastest on every problem, 0 for one that is never within the factor r_max. AlgoPerf
    integrates the same step functions numerically, by trapezoids.
    """
    short = np.maximum(0.0, r_max - ratios(times)) / (r_max - 1.0)
    return np.asarray(short.mean(axis=1))


def expected_best(values: ArrayLike, *, replace: bool = True) -> Floats:
    """The expected least value (n,) of k = 1 … n trials drawn from n that were made.

    With replacement (Dodge et al.): Σ_i v_(i) ((1 − (i − 1) / n)^k − (1 − i / n)^k) over the ascending values
    v_(1) ≤ … ≤ v_(n). Without replacement (unbiased, Tang et al.): v_(i) has the weight C(n − i, k − 1) / C(n, k).

    A diverged trial is infinite. The expectation is infinite wherever all k drawn trials may be diverged ones.

    Source: Dodge, Gururangan, Card, Schwartz, Smith, "Show Your Work: Improved Reporting of Experimental Results",
    2019, equation 6; Tang, Lee, Xin, Liu, Yu, Lin, "Showing Your Work Doesn't Always Work", 2020, section 3.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = ordered.size
    weights = _with_replacement(n) if replace else _without_replacement(n)
    # Values of weight 0 are left out, since 0 × ∞ is NaN.
    return np.array([float((ordered[row > 0] * row[row > 0]).sum()) for row in weights])


def _with_replacement(n: int) -> Floats:
    above = 1.0 - np.arange(n + 1) / n if n else np.empty(0)
    return np.array([above[:-1] ** k - above[1:] ** k for k in range(1, n + 1)])


def _without_replacement(n: int) -> Floats:
    """Row k − 1: C(n − i, k − 1) / C(n, k) for i = 1 … n, each from the one before, so that nothing overflows."""
    weights = np.zeros((n, n))
    for k in range(1, n + 1):
        weight = k / n
        for i in range(1, n - k + 2):
            weights[k - 1, i - 1] = weight
            weight *= (n - i - k + 1) / max(n - i, 1)
    return weights


def sensitivity(finals: Sequence[float], *, start: float) -> float:
    """Learning-rate sensitivity: the mean excess of the final cost over its best, over the learning rates tried.

    mean_η (min(C(η), C_0) − min_η C(η)), where C_0 is the cost before the first step: a worse cost, or divergence,
    counts as C_0.

    Source: Wortsman et al., "Small-scale proxies for large-scale Transformer training instabilities", 2023
    (arXiv 2309.14322), section 2.2.

    Args:
        finals: C(η) by learning rate, evenly spaced on a log scale; infinite or NaN where the run diverged.
        start: C_0.
    """
    costs = np.asarray(finals, dtype=np.float64)
    costs = np.where(np.isnan(costs), np.inf, costs)
    capped = np.minimum(costs, start)
    return float((capped - capped.min()).mean()) if capped.size else float("nan")
