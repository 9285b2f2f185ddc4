"""One pass of the mirror: what the store's outbox holds goes to MLflow, then the store is told.

The order is what makes it safe to be killed anywhere: first MLflow, by calls that may be repeated, then the
mark in SQL. Whatever was sent and not marked is sent again, and MLflow keeps it once.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog

from talweg.errors import TalwegError, Unreachable
from talweg.records import problem_of
from talweg.spec import parse_run
from talweg.store import RunRow, Store
from talweg.tracking.destination import Destination, Gone, Refused
from talweg.tracking.marks import Marks
from talweg.tracking.places import Places
from talweg.tracking.series import Portion, metrics_a_step, plan, read
from talweg.tracking.studies import tell_study
from talweg.tracking.telling import close_run, open_run

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Points of a run that are sent before other runs have their turn, and before the store is told.
TURN = 10_000
# Runs that one pass looks at.
OUTBOX = 500
# Runs that get their files before those that still train have their turn again.
CLOSED = 4
FIRST_DELAY, LAST_DELAY = 5.0, 600.0


@dataclass(frozen=True)
class _Pause:
    until: float
    seconds: float


class Mirror:
    """Carries runs from a store to an MLflow server. One mirror at a time for each server."""

    def __init__(
        self,
        store: Store,
        destination: Destination,
        *,
        budget: int,
        marks: Marks | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`budget`: about how many points a run may take; `marks`: the store's own; `clock` in seconds."""
        self.destination = destination
        self._store, self._budget, self._clock = store, budget, clock
        self._marks: Marks = marks or store
        self._places = Places(store, self._marks, destination)
        self._paused: dict[str, _Pause] = {}

    def drain(self) -> bool:
        """Give each waiting run one turn; returns whether any has more to send right now.

        Points come before files, which take longer and which nobody watches grow: a run is closed when no other has
        points left, or one a pass. A run that MLflow refuses, or that cannot be read, waits longer each time
        and holds up no other. Raises Unreachable where MLflow or the database does not answer; what was marked until
        then stays so.
        """
        behind = self.send_points()
        closing = [run for run in self._marks.outbox(OUTBOX) if _only_files(run) and not self._is_paused(run.id)]
        for run in closing[: 1 if behind else CLOSED]:
            self._guarded(run.id, self._turn, run)
        behind |= len(closing) > CLOSED
        for study in () if behind else self._marks.untold_studies(OUTBOX):
            self._guarded(study, self._tell, study)
        return behind

    def send_points(self) -> bool:
        """The first half of `drain`: give each run that has points left its turn; returns whether any has more."""
        behind = False
        for run in self._marks.outbox(OUTBOX):
            if not _only_files(run):
                behind |= self._guarded(run.id, self._turn, run)
        return behind

    def _guarded(self, what: str, do: Callable[[T], bool], argument: T) -> bool:
        """Returns what `do` does, or False where it may not try yet or is in trouble."""
        if self._is_paused(what):
            return False
        try:
            more = do(argument)
        except Unreachable:
            raise
        except TalwegError as error:
            self._pause(what, error)
            if isinstance(argument, RunRow):
                # The same mark as before, but newer: the run goes to the end of the outbox.
                self._marks.mark_mirrored(
                    argument.id, argument.mirrored_step, None, argument.mirrored_state or "queued"
                )
            return False
        self._paused.pop(what, None)
        return more

    def _turn(self, run: RunRow) -> bool:
        """Returns whether the run has more to send."""
        if run.state == "queued":
            # Nothing to see yet; its start time will be known when it starts.
            self._marks.mark_mirrored(run.id, 0, None, run.state)
            return False
        try:
            return self._carry(run)
        except Gone:
            self._leave(run)
            return False
        except Refused:
            stage = "active" if run.mlflow_run_id is None else self.destination.stage(run.mlflow_run_id)
            if stage == "active":
                raise
            if stage == "deleted":
                self._leave(run)
                return False
            # The server lost what it had, or is another one by now: from the start.
            self._places.forget()
            return self._carry(replace(run, mlflow_run_id=None, mirrored_step=0))

    def _carry(self, run: RunRow) -> bool:
        """Send the next portion of a run and tell the store; returns whether there is another."""
        place = self._places.of(run)
        problem = problem_of(parse_run(run.spec))
        thinning = plan(run, splits=len(problem.splits), metric=problem.metric is not None, budget=self._budget)
        run_id = run.mlflow_run_id or open_run(self.destination, place, run, problem, thinning)
        first = run.mirrored_step // thinning.cost * thinning.cost
        stop = min(run.step, first + max(TURN // metrics_a_step(run), 1) * thinning.others * thinning.cost)
        whole = stop == run.step
        ended = whole and run.ended
        portion = Portion(run, first, stop, ended=ended, thinning=thinning)
        self.destination.send(run_id, read(self._store, portion, problem.metric))
        closes = ended and _only_files(run)
        if closes:
            close_run(self._store, self.destination, place, run, run_id, problem, thinning)
        self._marks.mark_mirrored(run.id, stop, run_id, run.state if closes or (whole and not ended) else "running")
        return not whole

    def _tell(self, study_id: str) -> bool:
        """All of a study's runs are there: its ranking and report."""
        study = self._store.study(study_id)
        try:
            tell_study(self._store, self.destination, study, self._places.of_study(study).experiment)
        except Gone:
            log.info("report was deleted in MLflow", study=study.name)
        self._marks.mark_study_told(study_id)
        return False

    def _leave(self, run: RunRow) -> None:
        """A run that was deleted in MLflow is not brought back."""
        log.info("run was deleted in MLflow", run=run.name)
        self._marks.mark_mirrored(run.id, run.step, run.mlflow_run_id, run.state)

    def _is_paused(self, what: str) -> bool:
        pause = self._paused.get(what)
        return pause is not None and self._clock() < pause.until

    def _pause(self, what: str, error: TalwegError) -> None:
        before = self._paused.get(what)
        seconds = min(2 * before.seconds, LAST_DELAY) if before else FIRST_DELAY
        self._paused[what] = _Pause(self._clock() + seconds, seconds)
        log.warning("not mirrored", what=what, retry_seconds=seconds, error=str(error))


def _only_files(run: RunRow) -> bool:
    """Every point is there, and what is left is to close the run."""
    return run.ended and run.mirrored_step == run.step and run.mirrored_state is not None
