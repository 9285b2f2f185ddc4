"""Steps with what lies around each, in one pass over the record."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from talweg.records.instruments.base import Around, Instrument
from talweg.records.reading import norms, parameters
from talweg.records.rebuild import cohort_of
from talweg.records.walk import Point, walk
from talweg.spec import RunSpec
from talweg.store import RunRow, Store
from talweg.store.policy import CHUNK_STEPS
from talweg_core import Cohort
from talweg_core.layout import Array


def around(
    store: Store, run: RunRow, chosen: Sequence[Instrument], steps: range, enough: Callable[[], bool]
) -> Iterator[Around]:
    """The recorded `steps`, ascending, with what the chosen instruments look at, until `enough`; raises as `walk`."""
    reader = _Reader(store, run)
    if not any(made.points for made in chosen):
        for step in steps:
            if enough():
                return
            yield reader.at(step, {})
        return
    before, after = any(made.earlier for made in chosen), any(made.later for made in chosen)
    beside = {near for step in steps for near in range(step - before, step + after + 1) if 0 <= near < run.step}
    seen: dict[int, Point] = {}
    for point in walk(store, run, sorted(beside), enough):
        seen[point.step] = point
        for old in [step for step in seen if step < point.step - 2]:
            del seen[old]
        for step in (point.step - after, point.step) if after and point.step == run.step - 1 else (point.step - after,):
            if step in steps:
                yield reader.at(step, seen)


class _Reader:
    """One run's record, as it is asked for."""

    def __init__(self, store: Store, run: RunRow) -> None:
        self._store, self._run = store, run
        self._cohorts: dict[str, Cohort] = {}
        self._norms: tuple[int, Array] | None = None
        self._start: Array | None = None

    def at(self, step: int, seen: dict[int, Point]) -> Around:
        return Around(
            step=step,
            norms=partial(self._norms_of, step),
            point=partial(seen.copy().__getitem__, step),
            earlier=seen.get(step - 1),
            later=seen.get(step + 1),
            start=self._begun,
            cohort=self._cohort,
        )

    def _norms_of(self, step: int) -> Array:
        """(3, T), a chunk at a time, so that damage elsewhere is not in the way."""
        first = step // CHUNK_STEPS * CHUNK_STEPS
        if self._norms is None or self._norms[0] != first:
            self._norms = first, norms(self._store, self._run, first, min(first + CHUNK_STEPS, self._run.step))
        row: Array = self._norms[1][step - first]
        return row

    def _begun(self) -> Array:
        if self._start is None:
            self._start = parameters(self._store, self._run, 0)
        return self._start

    def _cohort(self, point: Point) -> Cohort:
        """Moves nothing; what it sees is the point's batch."""
        owner = point.owner
        if owner.id not in self._cohorts:
            self._cohorts[owner.id] = cohort_of([RunSpec.model_validate(owner.spec)])
        cohort = self._cohorts[owner.id]
        cohort.parameters[0], cohort.step = point.parameters, point.step
        return cohort
