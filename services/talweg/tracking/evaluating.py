"""How many evaluations a run has taken so far: gradients, costs and Hessian products, counted from its first step."""

import threading

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
        self._lock = threading.Lock()
        # By run where its last portion began and ended, with the evaluations of all steps before: the next one begins
        # at its end or, where steps are thinned, somewhat before it.
        self._known: dict[str, list[tuple[int, int]]] = {}

    def so_far(self, run: RunRow, first: int, stop: int) -> Floats:
        """(n,) of each step first … stop − 1: its own evaluations and those of all steps before it."""
        with self._lock:
            known = self._known.pop(run.id, [])
        at, total = max((mark for mark in known if mark[0] <= first), default=(0, 0))
        while at < first:
            until = min(at + AT_ONCE, first)
            total += int(evaluations_between(self._store, run, at, until).sum())
            at = until
        found = total + np.cumsum(evaluations_between(self._store, run, first, stop).sum(axis=1))
        with self._lock:
            self._known[run.id] = [(first, total), (stop, int(found[-1]) if stop > first else total)]
            if len(self._known) > RUNS:
                # The one that was longest not asked for.
                del self._known[next(iter(self._known))]
        return found.astype(np.float64)
