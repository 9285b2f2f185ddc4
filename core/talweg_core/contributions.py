"""Which tensors and coordinates an update's effect on the cost came from, to first order."""

from dataclasses import dataclass

import numpy as np

from talweg_core.layout import Array, Layout


@dataclass(frozen=True)
class TensorShare:
    """One tensor: Euclidean norms of its derivatives and its update, and g · u, what it does to the cost by those."""

    tensor: str
    gradient_norm: float
    update_norm: float
    predicted_change: float


@dataclass(frozen=True)
class CoordinateShare:
    """One coordinate: its parameter, derivative g and update u, and g u."""

    tensor: str
    index: tuple[int, ...]
    parameter: float
    derivative: float
    update: float
    predicted_change: float


def tensor_shares(layout: Layout, gradient: Array, update: Array) -> list[TensorShare]:
    """Every tensor, the one that mattered most first; gradient and update are (P,)."""
    g, u = gradient.astype(np.float64), update.astype(np.float64)
    found = [
        TensorShare(name, float(np.linalg.norm(g[s])), float(np.linalg.norm(u[s])), float(g[s] @ u[s]))
        for name, s in ((name, layout.slice(name)) for name in layout.names)
    ]
    return sorted(found, key=lambda share: -abs(share.predicted_change))


def coordinate_shares(
    layout: Layout, parameters: Array, gradient: Array, update: Array, count: int
) -> list[CoordinateShare]:
    """The `count` coordinates that mattered most, in that order; arrays are (P,)."""
    products = gradient.astype(np.float64) * update.astype(np.float64)
    # NaN sorts last: of a diverged step, what is still a number comes first.
    order = np.argsort(-np.abs(products), kind="stable")[:count]
    return [
        CoordinateShare(
            *layout.place(int(i)), float(parameters[i]), float(gradient[i]), float(update[i]), float(products[i])
        )
        for i in order
    ]
