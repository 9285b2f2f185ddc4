"""One pass of the mirror: what the store's outbox holds goes to MLflow, then the store is told.

The order is what makes it safe to be killed anywhere: first MLflow, by calls that may be repeated, then the
mark in SQL. Whatever was sent and not marked is sent again, and MLflow keeps it once.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from talweg.datasets.sources import serve
from talweg.errors import TalwegError, Unreachable
from talweg.records import problem_of
from talweg.spec import parse_run
from talweg.store import RunRow, Store
from talweg.tracking.destination import Destination, Gone, Refused
from talweg.tracking.places import Places
from talweg.tracking.series import Portion, metrics_a_step, plan, read
from talweg.tracking.telling import close_run, open_run

log = structlog.get_logger(__name__)

# Points of a run that are sent before other runs have their turn, and before the store is told.
TURN = 10_000
# Runs that one pass looks at.
OUTBOX = 500
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`budget`: about how many points a run may take; `clock` in seconds."""
        serve(store)
        self.destination = destination
        self._store, self._budget, self._clock = store, budget, clock
        self._places = Places(store, destination)
        self._paused: dict[str, _Pause] = {}

    def drain(self) -> bool:
        """Give each waiting run one turn; returns whether any has more to send right now.

        A run that MLflow refuses, or that cannot be read, waits longer each time and holds up no other. Raises
        Unreachable where MLflow or the database does not answer; what was marked until then stays so.
        """
        behind = False
        for run in self._store.outbox(OUTBOX):
            pause = self._paused.get(run.id)
            if pause is not None and self._clock() < pause.until:
                continue
            try:
                behind |= self._turn(run)
            except Unreachable:
                raise
            except TalwegError as error:
                self._pause(run, error)
            else:
                self._paused.pop(run.id, None)
        return behind

    def _turn(self, run: RunRow) -> bool:
        """Returns whether the run has more to send."""
        if run.state == "queued":
            # Nothing to see yet; its start time will be known when it starts.
            self._store.mark_mirrored(run.id, 0, None, run.state)
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
        if ended:
            close_run(self._store, self.destination, place, run, run_id, thinning)
        self._store.mark_mirrored(run.id, stop, run_id, run.state if whole else "running")
        return not whole

    def _leave(self, run: RunRow) -> None:
        """A run that was deleted in MLflow is not brought back."""
        log.info("run was deleted in MLflow", run=run.name)
        self._store.mark_mirrored(run.id, run.step, run.mlflow_run_id, run.state)

    def _pause(self, run: RunRow, error: TalwegError) -> None:
        before = self._paused.get(run.id)
        seconds = min(2 * before.seconds, LAST_DELAY) if before else FIRST_DELAY
        self._paused[run.id] = _Pause(self._clock() + seconds, seconds)
        # The same mark as before, but newer: the run goes to the end of the outbox.
        self._store.mark_mirrored(run.id, run.mirrored_step, None, run.mirrored_state or "queued")
        log.warning("run not mirrored", run=run.name, retry_seconds=seconds, error=str(error))
