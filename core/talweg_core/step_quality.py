"""Where a step ended in the valley that it went into: a parabola through what was seen at both of its ends."""

import numpy as np
from numpy.typing import ArrayLike

# What stands for a variance of 0, as in Cockpit.
_LEAST = 1e-10


def step_quality(length: float, costs: ArrayLike, slopes: ArrayLike, variances: ArrayLike = (0.0,) * 4) -> float:
    """α of a step of `length` τ: −1 where it stayed, 0 in the valley's lowest point, 1 as high on the other side.

    f(x) = a + b x + c x² is fitted to the two costs f(0), f(τ) and the two slopes f′(0), f′(τ) along the step by least
    squares, each weighted by the inverse of its variance: of costs, then of slopes (4,), all of single examples or all
    of means. α = τ / x* − 1 with x* = −b / 2c. Where c < 0 the step still goes downhill: −1. Where b > 0 it began
    uphill, and α < −1. NaN where something is not finite or all is level.

    Source: Schneider, Dangel & Hennig 2021, "Cockpit: a practical debugging tool for the training of deep neural
    networks" (arXiv 2102.06604), section 3.1 and its `Alpha`, whose weights for variances of 0 are these too.
    """
    if length == 0:
        return -1.0
    seen = np.concatenate([np.asarray(costs, dtype=np.float64), np.asarray(slopes, dtype=np.float64)])
    # Only a moves with this, and what is level is exactly so.
    seen[:2] -= seen[0]
    weights = 1 / np.sqrt(np.maximum(np.asarray(variances, dtype=np.float64), _LEAST))
    # In units of the step, so that a tiny one is not a singular system.
    design = np.array([[1, 0, 0], [1, 1, 1], [0, 1, 0], [0, 1, 2]], dtype=np.float64)
    design[2:] /= length
    if not (np.isfinite(seen).all() and np.isfinite(weights).all() and np.isfinite(length)):
        return float("nan")
    _, b, c = np.linalg.lstsq(design * weights[:, None], seen * weights, rcond=None)[0]
    if c < 0:
        return -1.0
    if b == 0:
        return float("inf") if c > 0 else float("nan")
    return float(-2 * c / b - 1)
