"""Intervals by resampling: the same data and seed give the same numbers.

For a mean: the studentised bootstrap, corrected towards Student's t. Its 95 % intervals hold the truth in 93 to 97 %
of studies (`benchmarks/intervals.py`); those of the plain percentile bootstrap in 82 % (five seeds) to 90 % (ten).
For all other statistics: the percentile bootstrap with runs drawn within each problem (stratified), as in rliable.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from talweg.comparison.results import Floats

RESAMPLES = 2000
LEVEL = 0.95
# With fewer values than this, the interval is Student's.
_FEW = 5
# The greatest whole number whose exponential is a float.
_GREATEST = 709.0
# The least number of values that can show a skew; and the ratio of the bootstrap's shorter to its longer side from
# which there is none.
_SKEW_VALUES = 8
_SYMMETRIC = 0.7


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval; `low` and `high` are infinite where the data do not bound it."""

    estimate: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether `value` lies within."""
        return self.low <= value <= self.high


def generator(seed: int = 0) -> Generator:
    """PCG64, whose streams are the same on every machine and in every version of NumPy."""
    return Generator(np.random.PCG64(seed))


def mean_interval(values: ArrayLike, *, seed: int = 0, level: float = LEVEL, resamples: int = RESAMPLES) -> Interval:
    """The mean of independent values (n,) with its studentised bootstrap interval.

    Resample b has mean m_b and standard error s_b; with t_b = (m_b − m) / s_b and its quantiles q, the interval is
    (m − q_{1−α/2} s, m − q_{α/2} s). With fewer than five values, too many resamples repeat one value; there q is
    Student's. With one value the interval is unbounded; with equal values it is that value.

    Deviation: quantiles from so few values are noisy, too short for heavy tails and too long for light ones. So the
    shorter side moves half of the way to Student's, the longer is at least Student's, and where eight values or more
    show no skew both sides are Student's.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 12.5.
    """
    sample = np.asarray(values, dtype=np.float64)
    n = sample.size
    if n < 2:
        return Interval(float(sample[0]) if n else float("nan"), -np.inf, np.inf)
    mean, error = sample.mean(), sample.std(ddof=1) / np.sqrt(n)
    # Equal up to the last digits of their logarithms.
    if error <= 1e-13 * np.abs(sample).max():
        return Interval(float(mean), float(mean), float(mean))
    # scipy takes a tenth of a second to import.
    from scipy.special import stdtrit

    student = float(stdtrit(n - 1, (1 + level) / 2))
    if n < _FEW:
        return Interval(float(mean), float(mean - student * error), float(mean + student * error))
    # Of the values about their mean, so that the difference of two squares loses few digits.
    about = sample - mean
    counts = _resamples(n, resamples, seed)
    away = counts @ about / n
    variance = (counts @ about**2 / n - away**2) / (n - 1)
    # A resample that repeats one value has no spread: its t is infinite.
    spread = variance > (1e-6 * error) ** 2
    t = np.where(spread, away / np.sqrt(np.where(spread, variance, 1.0)), np.copysign(np.inf, away))
    low, high = np.quantile(t, [(1 - level) / 2, (1 + level) / 2], method="higher")
    above, below = _corrected(-float(low), float(high), student, n)
    return Interval(float(mean), float(mean - below * error), float(mean + above * error))


@lru_cache(maxsize=8)
def _resamples(n: int, resamples: int, seed: int) -> Floats:
    """(resamples, n) how often each of n values is drawn: the same for all samples of one size."""
    drawn = generator(seed).integers(0, n, size=(resamples, n))
    counts = np.zeros((resamples, n))
    np.add.at(counts, (np.arange(resamples)[:, None], drawn), 1.0)
    counts.flags.writeable = False
    return counts


def _corrected(above: float, below: float, student: float, n: int) -> tuple[float, float]:
    """The two sides of a studentised bootstrap interval, in standard errors, corrected towards Student's."""
    short, long = sorted((above, below))
    if n >= _SKEW_VALUES and math.isfinite(long) and short >= _SYMMETRIC * long:
        return student, student
    short, long = (short + student) / 2, max(long, student)
    return (short, long) if above <= below else (long, short)


def exponential(interval: Interval) -> Interval:
    """The interval of exp(x) from that of x; an unbounded side stays unbounded."""
    return Interval(*(_exp(value) for value in (interval.estimate, interval.low, interval.high)))


def _exp(value: float) -> float:
    # math.exp raises OverflowError for greater arguments.
    return value if math.isinf(value) else math.exp(value) if value < _GREATEST else math.inf


def stratified_interval(
    statistic: Callable[[Sequence[NDArray[np.float64]]], float],
    strata: Sequence[ArrayLike],
    *,
    seed: int = 0,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Interval:
    """A statistic of several samples with its percentile interval; each resample draws within each sample.

    Args:
        statistic: of arrays like `strata`; it may be infinite.
        strata: one sample a problem, values (n_p, …), drawn along the first axis.
        seed: of the generator.
        level: the nominal coverage.
        resamples: their number.
    """
    samples = [np.asarray(stratum, dtype=np.float64) for stratum in strata]
    random = generator(seed)
    draws = np.array(
        [
            statistic([sample[random.integers(0, len(sample), len(sample))] for sample in samples])
            for _ in range(resamples)
        ]
    )
    return Interval(statistic(samples), *quantiles(draws, level))


def quantiles(draws: Floats, level: float = LEVEL) -> tuple[float, float]:
    """The central interval of draws (B,), which may be infinite: order statistics, without interpolation."""
    low = np.quantile(draws, (1 - level) / 2, method="lower")
    high = np.quantile(draws, (1 + level) / 2, method="higher")
    return float(low), float(high)


def interquartile_mean(scores: ArrayLike) -> float:
    """The mean of the middle half of all n scores: ⌊n / 4⌋ are dropped at each end. NaN without scores."""
    values = np.sort(np.asarray(scores, dtype=np.float64), axis=None)
    cut = values.size // 4
    middle = values[cut : values.size - cut]
    return float(middle.mean()) if middle.size else float("nan")


def optimality_gap(scores: ArrayLike, *, optimum: float = 1.0) -> float:
    """The mean shortfall from `optimum` of scores (higher is better): optimum − mean min(s, optimum)."""
    values = np.asarray(scores, dtype=np.float64)
    return float(optimum - np.minimum(values, optimum).mean())


def probability_of_improvement(first: Sequence[ArrayLike], second: Sequence[ArrayLike]) -> float:
    """The probability that a run of `first` has a lower value than one of `second`: P(X < Y) + P(X = Y) / 2.

    The mean over problems of the share of pairs of runs (Mann and Whitney's U over its maximum). Infinite values, of
    runs that missed the target, are higher than all others and equal to each other.

    Args:
        first: Of each problem the values (n,) of its runs.
        second: The same for another optimizer; the numbers of runs may differ.
    """
    return float(np.mean([_lower(x, y) for x, y in zip(first, second, strict=True)]))


def _lower(first: ArrayLike, second: ArrayLike) -> float:
    x, y = np.asarray(first, dtype=np.float64)[:, None], np.asarray(second, dtype=np.float64)[None, :]
    return float(np.mean((x < y) + 0.5 * (x == y)))


def geometric_mean(values: ArrayLike) -> float:
    """(v_1 v_2 … v_n)^(1/n) of positive values; infinite if one is, NaN without values."""
    array = np.asarray(values, dtype=np.float64)
    return float(np.exp(np.log(array).mean())) if array.size else float("nan")


def speed_up(times: ArrayLike, reference: ArrayLike) -> tuple[float, int]:
    """The speed-up over a reference: the geometric mean over problems of reference time / time.

    An infinite time (a missed target) has no ratio: such problems are left out of the mean. The second number counts
    the problems in the mean.

    Args:
        times: (P,), positive.
        reference: (P,), positive.
    """
    mine, other = np.asarray(times, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    both = np.isfinite(mine) & np.isfinite(other)
    return geometric_mean(other[both] / mine[both]), int(both.sum())
