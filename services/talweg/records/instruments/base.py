"""The base class of instruments, and the recorded steps that they read in one pass."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from talweg.records.from_spec import cohort_of_run
from talweg.records.steps import Point, norms, parameters, walk
from talweg.store import RunRow, Store
from talweg.store.batch import CHUNK_STEPS
from talweg_core import Cohort
from talweg_core.layout import Array


@dataclass(frozen=True, eq=False)
class StepWindow:
    """One step and its neighbours; callables read the record when they are called.

    Attributes:
        norms: (3, T), the norms of each tensor's gradient, parameters and update.
        point: Cost, parameters and gradient of the step.
        earlier, later: The steps before and after; None where they are not recorded.
        start: θ_0 (P,).
        cohort: A cohort of one run, at the step and parameters of the argument.
    """

    step: int
    norms: Callable[[], Array]
    point: Callable[[], Point]
    earlier: Point | None
    later: Point | None
    start: Callable[[], Array]
    cohort: Callable[[Point], Cohort]


class Instrument(ABC):
    """One instrument; its docstring is its formula.

    Attributes:
        says: What it shows, in one line.
        points: Whether it reads parameters and gradients.
        earlier, later: Whether it also reads those of the step before, or after.
        edges: A histogram's bounds between its bins.
    """

    name: ClassVar[str]
    says: ClassVar[str]
    points: ClassVar[bool] = True
    earlier: ClassVar[bool] = False
    later: ClassVar[bool] = False
    edges: ClassVar[Array | None] = None

    def columns(self, run: RunRow) -> list[str]:
        """The names of its numbers; the first is the main one."""
        return [self.name]

    def check(self, at: StepWindow) -> str | None:
        """The reason why it cannot measure runs like this one; None where it can."""
        return None

    @abstractmethod
    def measure(self, at: StepWindow) -> Sequence[float]:
        """One number for each column; NaN where it is not defined."""


def step_windows(
    store: Store, run: RunRow, chosen: Sequence[Instrument], steps: range, enough: Callable[[], bool]
) -> Iterator[StepWindow]:
    """The recorded `steps`, ascending, with what the chosen instruments read, until `enough`; raises as `walk` does."""
    reader = _Reader(store, run)
    if not any(made.points for made in chosen):
        for step in steps:
            if enough():
                return
            yield reader.at(step, {})
        return
    before, after = any(made.earlier for made in chosen), any(made.later for made in chosen)
    needed = {near for step in steps for near in range(step - before, step + after + 1) if 0 <= near < run.step}
    seen: dict[int, Point] = {}
    for point in walk(store, run, sorted(needed), enough):
        seen[point.step] = point
        for old in [step for step in seen if step < point.step - 2]:
            del seen[old]
        for step in (point.step - after, point.step) if after and point.step == run.step - 1 else (point.step - after,):
            if step in steps:
                yield reader.at(step, seen)


class _Reader:
    """Reads one run's record when a value is first used, and caches norms, start and cohorts."""

    def __init__(self, store: Store, run: RunRow) -> None:
        self._store, self._run = store, run
        self._cohorts: dict[str, Cohort] = {}
        self._norms: tuple[int, Array] | None = None
        self._start: Array | None = None

    def at(self, step: int, seen: dict[int, Point]) -> StepWindow:
        return StepWindow(
            step=step,
            norms=partial(self._norms_of, step),
            point=partial(seen.copy().__getitem__, step),
            earlier=seen.get(step - 1),
            later=seen.get(step + 1),
            start=self._first_parameters,
            cohort=self._cohort,
        )

    def _norms_of(self, step: int) -> Array:
        """(3, T); reads one chunk at a time, so that damage elsewhere does not matter."""
        first = step // CHUNK_STEPS * CHUNK_STEPS
        if self._norms is None or self._norms[0] != first:
            self._norms = first, norms(self._store, self._run, first, min(first + CHUNK_STEPS, self._run.step))
        row: Array = self._norms[1][step - first]
        return row

    def _first_parameters(self) -> Array:
        if self._start is None:
            self._start = parameters(self._store, self._run, 0)
        return self._start

    def _cohort(self, point: Point) -> Cohort:
        """The cohort must not be advanced; its batch is the point's."""
        owner = point.owner
        if owner.id not in self._cohorts:
            self._cohorts[owner.id] = cohort_of_run(owner)
        cohort = self._cohorts[owner.id]
        cohort.parameters[0], cohort.step = point.parameters, point.step
        return cohort
