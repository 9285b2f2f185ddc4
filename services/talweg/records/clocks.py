"""What a run's steps took: evaluations, and seconds of gradient and update."""

import numpy as np
from numpy.typing import NDArray

from talweg.records.lineage import pieces
from talweg.store import Quantity, RunRow, Store

_GRADIENT = np.array([1, 0, 0], dtype=np.int64)


def evaluations_made(store: Store, run: RunRow) -> NDArray[np.int64] | None:
    """(n, 3) gradients, costs and Hessian products of each recorded step; None where each took one gradient."""
    made = evaluations_between(store, run, 0, run.step)
    # A step that took one gradient has no record of its own.
    return None if (made == _GRADIENT).all() else made


def evaluations_between(store: Store, run: RunRow, start: int, stop: int) -> NDArray[np.int64]:
    """(n, 3) gradients, costs and Hessian products of the steps start … stop − 1, which are recorded."""
    made = np.tile(_GRADIENT, (stop - start, 1))
    _fill(store, run, "evaluations", made, start)
    return made


def seconds(store: Store, run: RunRow) -> NDArray[np.float64] | None:
    """(n,) what each recorded step took, the run's share of its cohort's; None where a step's is not known."""
    found = np.empty((run.step, 1))
    return found[:, 0] if _fill(store, run, "seconds", found, 0) == run.step else None


def _fill(store: Store, run: RunRow, quantity: Quantity, values: NDArray[np.generic], start: int) -> int:
    """Write what is stored of the steps from `start` into `values`, in place; returns how many that were."""
    filled = 0
    for piece in pieces(store, run, start, start + len(values)):
        for chunk in store.chunks(piece.run.id, quantity, piece.start, piece.stop):
            first = max(chunk.first_step, piece.start)
            rows = chunk.array(values.dtype, values.shape[1], piece.start, piece.stop)
            values[first - start : first - start + len(rows)] = rows
            filled += len(rows)
    return filled
