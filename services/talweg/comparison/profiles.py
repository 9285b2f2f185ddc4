"""Performance profiles: on how many problems an optimizer is within a factor τ of the fastest, and their integral.

Source: Dahl et al., "Benchmarking Neural Network Training Algorithms" (AlgoPerf), 2023, section 4.3, after Dolan
and Moré, "Benchmarking optimization software with performance profiles", 2002.
"""

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
