"""Cohorts of one run, kept from one replay to the next: making one takes as long as fifty steps of a small network.

A cohort that is put back to a checkpoint is the same whatever it did before, so which one is lent makes no difference.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from talweg.records.rebuild import cohort_of, engine_rules
from talweg.spec import RunSpec
from talweg_core import Cohort

_MOST = 8
# Large ones are made anew: against their steps it does not count, and their memory would.
_BYTES = 1_000_000

_lock = threading.Lock()
# Spec, cohort and the checkpoint of its step 0; the longest unused comes first.
_idle: list[tuple[str, Cohort, bytes]] = []


@contextmanager
def lent(spec: dict[str, Any]) -> Iterator[Cohort]:
    """A cohort of the one run of this stored spec, at step 0, for the caller alone; raises InvalidSpec."""
    asked = RunSpec.model_validate(spec)
    key = asked.model_dump_json()
    cohort, start = _taken(key) or _made(asked)
    yield cohort
    # One that something went wrong with does not come back.
    if cohort.parameters.nbytes <= _BYTES:
        with _lock:
            _idle.append((key, cohort, start))
            del _idle[:-_MOST]


def _taken(key: str) -> tuple[Cohort, bytes] | None:
    with _lock:
        place = next((i for i in reversed(range(len(_idle))) if _idle[i][0] == key), None)
        if place is None:
            return None
        _, cohort, start = _idle.pop(place)
    with engine_rules():
        cohort.restore(0, start)
    return cohort, start


def _made(spec: RunSpec) -> tuple[Cohort, bytes]:
    cohort = cohort_of([spec])
    return cohort, cohort.checkpoint(0)
