"""How many evaluations a run has taken so far: gradients, costs and Hessian products, counted from its first step."""

import numpy as np

from talweg.comparison.results import Floats
from talweg.records import evaluations_between
from talweg.store import RunRow, Store

# Steps that are read at a time, so that a long run takes no more memory than a short one.
AT_ONCE = 10_000
# Runs whose count is remembered.
RUNS = 2000


class Evaluated:
    """Counts runs' evaluations portion by portion; a run that goes on from where it was counted is not read again."""

    def __init__(self, store: Store) -> None:
        """Reads from `store`."""
        self._store = store
        # By run: a step, and the evaluations of all steps before it.
        self._known: dict[str, tuple[int, int]] = {}

    def so_far(self, run: RunRow, first: int, stop: int) -> Floats:
        """(n,) of each step first … stop − 1: its own evaluations and those of all steps before it."""
        at, total = self._known.pop(run.id, (0, 0))
        if at > first:
            at, total = 0, 0
        while at < first:
            until = min(at + AT_ONCE, first)
            total += int(evaluations_between(self._store, run, at, until).sum())
            at = until
        found = total + np.cumsum(evaluations_between(self._store, run, first, stop).sum(axis=1))
        if stop > first:
            self._known[run.id] = (stop, int(found[-1]))
        while len(self._known) > RUNS:
            self._known.pop(next(iter(self._known)), None)
        return found.astype(np.float64)
