"""Many runs on many problems as one number: interquartile mean, optimality gap, probability of improvement.

Scores are tables (R, P): R runs of each of P problems, put on one scale by whoever calls.

Source: Agarwal, Schwarzer, Castro, Courville, Bellemare, "Deep Reinforcement Learning at the Edge of the
Statistical Precipice", 2021, sections 4.2 and 4.3, there for rewards; costs are the better the lower, so the
probability of improvement here is that of a lower value.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def interquartile_mean(scores: ArrayLike) -> float:
    """The mean of the middle half of all n scores: ⌊n / 4⌋ are dropped at either end. NaN where there are none."""
    values = np.sort(np.asarray(scores, dtype=np.float64), axis=None)
    cut = values.size // 4
    middle = values[cut : values.size - cut]
    return float(middle.mean()) if middle.size else float("nan")


def optimality_gap(scores: ArrayLike, *, optimum: float = 1.0) -> float:
    """By how much scores, the higher the better, fall short of `optimum` on average: optimum − mean min(s, optimum)."""
    values = np.asarray(scores, dtype=np.float64)
    return float(optimum - np.minimum(values, optimum).mean())


def probability_of_improvement(first: Sequence[ArrayLike], second: Sequence[ArrayLike]) -> float:
    """How likely a run of `first` has a lower value than one of `second`: P(X < Y) + P(X = Y) / 2.

    Mean over problems, of each the share of all pairs of runs (Mann and Whitney's U over its maximum). Infinite
    values, of runs that never arrived, are higher than all others and equal to each other.

    Args:
        first: Of each problem the values (n,) of its runs.
        second: The same of another optimizer; the numbers of runs may differ.
    """
    return float(np.mean([_lower(x, y) for x, y in zip(first, second, strict=True)]))


def _lower(first: ArrayLike, second: ArrayLike) -> float:
    x, y = np.asarray(first, dtype=np.float64)[:, None], np.asarray(second, dtype=np.float64)[None, :]
    return float(np.mean((x < y) + 0.5 * (x == y)))


def geometric_mean(values: ArrayLike) -> float:
    """(v_1 v_2 … v_n)^(1/n) of positive values; infinite where one is, NaN where there are none."""
    array = np.asarray(values, dtype=np.float64)
    return float(np.exp(np.log(array).mean())) if array.size else float("nan")


def speed_up(times: ArrayLike, reference: ArrayLike) -> tuple[float, int]:
    """How many times faster than a reference: the geometric mean over problems of reference time / time.

    A time that is infinite, of a target that was missed, has no ratio: such problems are left out of the mean,
    and the second number is how many were left in.

    Args:
        times: (P,), positive.
        reference: (P,), positive.
    """
    mine, other = np.asarray(times, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    both = np.isfinite(mine) & np.isfinite(other)
    return geometric_mean(other[both] / mine[both]), int(both.sum())
