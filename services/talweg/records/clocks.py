"""What a run's steps took: evaluations, and seconds of gradient and update."""

import numpy as np
from numpy.typing import NDArray

from talweg.records.lineage import pieces
from talweg.store import Quantity, RunRow, Store


def evaluations_made(store: Store, run: RunRow) -> NDArray[np.int64] | None:
    """(n, 3) gradients, costs and Hessian products of each recorded step; None where each took one gradient."""
    # Steps without a record of their own took their gradient and nothing else.
    made = np.tile(np.array([1, 0, 0], dtype=np.int64), (run.step, 1))
    return made if _fill(store, run, "evaluations", made) else None


def seconds(store: Store, run: RunRow) -> NDArray[np.float64] | None:
    """(n,) what each recorded step took, the run's share of its cohort's; None where a step's is not known."""
    found = np.empty((run.step, 1))
    return found[:, 0] if _fill(store, run, "seconds", found) == run.step else None


def _fill(store: Store, run: RunRow, quantity: Quantity, values: NDArray[np.generic]) -> int:
    """Write what is stored into its rows of `values`, in place; returns how many that were."""
    filled = 0
    for piece in pieces(store, run, 0, run.step):
        for chunk in store.chunks(piece.run.id, quantity, piece.start, piece.stop):
            first = max(chunk.first_step, piece.start)
            rows = chunk.array(values.dtype, values.shape[1], piece.start, piece.stop)
            values[first : first + len(rows)] = rows
            filled += len(rows)
    return filled
