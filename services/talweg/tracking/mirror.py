"""The mirror: what the store's outbox holds goes to MLflow, then the store is told. Or a copy, to another server.

The order is what makes it safe to be killed anywhere: first MLflow, by calls that may be repeated, then the
mark in SQL. Whatever was sent and not marked is sent again, and MLflow keeps it once. A copy leaves the first server's
marks alone.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog

from talweg.datasets.sources import serve
from talweg.errors import NotWritable, TalwegError, Unreachable
from talweg.records import problem_of
from talweg.spec import parse_run
from talweg.store import RunRow, RunState, Store
from talweg.tracking.descriptions import close_run, describe_study, open_run
from talweg.tracking.destination import Busy, Destination, Gone, Refused
from talweg.tracking.experiments import Marks, Places
from talweg.tracking.metrics import Budget, EvaluationCounts, Portion, metrics_a_step, plan, read, system
from talweg.tracking.run_files import drawn
from talweg.tracking.run_files_process import Files, RunFilesProcesses

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Points of a run that are sent before other runs have their turn, and before the store is told.
TURN = 10_000
# Runs that one pass looks at.
OUTBOX = 500
# Runs that get their files before those that still train have their turn again.
CLOSED = 4
# From so many on they are drawn beside, and so many ahead of those that are sent.
MANY, AHEAD = 3, 16
# Runs whose points one pass sends, before files that are made have their turn.
PASS = 16
FIRST_DELAY, LAST_DELAY = 5.0, 600.0
# Where the server said that it takes it later.
BUSY_DELAY = 60.0
_PAGE = 500


def take_turns(do: Callable[[RunRow], bool], runs: Sequence[RunRow], *, at_once: int) -> bool:
    """Whether `do` is true of any run; every run has its turn, `at_once` of them in threads of their own.

    Raises Unreachable as soon as `do` did and the turns that had begun are over; whose turn had not begun has none.
    """
    if at_once == 1 or len(runs) < 2:
        return True in [do(run) for run in runs]
    away = threading.Event()

    def turn(run: RunRow) -> bool:
        if away.is_set():
            return False
        try:
            return do(run)
        except Unreachable:
            away.set()
            raise

    with ThreadPoolExecutor(at_once, thread_name_prefix="sending") as threads:
        turns = [threads.submit(turn, run) for run in runs]
        wait(turns)
    return True in [done.result() for done in turns]


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
        budget: Budget | int,
        marks: Marks | None = None,
        clock: Callable[[], float] = time.monotonic,
        at_once: int = 1,
        beside: RunFilesProcesses | None = None,
    ) -> None:
        """A mirror of everything in `store`; the caller closes it.

        Args:
            store: Where runs come from.
            destination: Where they go.
            budget: How many points they may take there; a number: each run, however many there are.
            marks: How far the server has come: the store's own marks where None.
            clock: Seconds.
            at_once: How many runs' points are sent at a time.
            beside: Draws files where many runs wait for theirs; else they are drawn here, one after another.
        """
        serve(store)
        self.destination = destination
        self._store, self._clock, self._at_once = store, clock, at_once
        self._budget = Budget(budget, sys.maxsize) if isinstance(budget, int) else budget
        self._beside = beside
        self._marks: Marks = marks or store
        self._evaluated = EvaluationCounts(store)
        self._places = Places(store, self._marks, destination)
        self._paused: dict[str, _Pause] = {}

    def drain(self) -> bool:
        """Give each waiting run one turn; returns whether any has more to send right now.

        Points come before files, which take longer and which nobody watches grow: a run is closed when no other has
        points left, or one a pass. A run that MLflow refuses, or that cannot be read, waits longer each time
        and holds up no other. Raises Unreachable where MLflow or the database does not answer; what was marked until
        then stays so.
        """
        growing, closing = self._waiting()
        self._begin(closing)
        behind = self._send(growing[:PASS]) or len(growing) > PASS
        _, closing = self._waiting()
        made = self._begin(closing)
        closed = self._close(closing, made, behind)
        behind |= closed < len(closing)
        if not closing and not behind:
            self.close()
        for study in () if behind else self._marks.unreported_studies(OUTBOX):
            self._guarded(study, self._tell, study)
        return behind

    def send_points(self) -> bool:
        """Part of `drain`: give each run that has points left its turn; returns whether any has more."""
        growing, _ = self._waiting()
        return self._send(growing)

    def _waiting(self) -> tuple[list[RunRow], list[RunRow]]:
        """Runs that have points left, and those that only have to be closed; each longest not mirrored first."""
        waiting = [run for run in self._marks.outbox(OUTBOX) if not self._is_paused(run.id)]
        return [run for run in waiting if not _only_files(run)], [run for run in waiting if _only_files(run)]

    def _send(self, runs: Sequence[RunRow]) -> bool:
        return take_turns(lambda run: self._guarded(run.id, self._turn, run), runs, at_once=self._at_once)

    def close(self) -> None:
        """End what draws beside, until it is needed again."""
        if self._beside is not None:
            self._beside.rest()

    def _begin(self, runs: Sequence[RunRow]) -> dict[str, Future[Files]]:
        """Let files be made beside while points are sent; by run, those that are under way."""
        if self._beside is None or len(runs) < MANY:
            return {}
        return {run.id: self._beside.begin(run, self._places.of(run).name(run)) for run in runs[:AHEAD]}

    def _close(self, runs: Sequence[RunRow], made: Mapping[str, Future[Files]], behind: bool) -> int:
        """Close some of these runs, fewer where others have points left; returns how many that were."""
        if made:
            if not behind:
                wait(made.values(), return_when=FIRST_COMPLETED)
            runs = [run for run in runs if run.id in made and made[run.id].done()]
        else:
            runs = runs[: 1 if behind else CLOSED]
        for run in runs:
            self._guarded(run.id, self._turn, run)
        return len(runs)

    def _files(self, run: RunRow, title: str) -> Files:
        made = None if self._beside is None else self._beside.take(run)
        return drawn(self._store, run, title) if made is None else made

    def _guarded(self, what: str, do: Callable[[T], bool], argument: T) -> bool:
        """Returns what `do` does, or False where it may not try yet or is in trouble."""
        if self._is_paused(what):
            return False
        try:
            more = do(argument)
        except (Unreachable, NotWritable):
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
        thinning = plan(
            run, splits=len(problem.splits), metric=problem.metric is not None, budget=self._budget.share(place.runs)
        )
        run_id = run.mlflow_run_id or open_run(self.destination, place, run, problem, thinning)
        first = run.mirrored_step // thinning.others * thinning.others
        # Of each so many steps three are sent.
        widths = TURN // (metrics_a_step(run) * min(thinning.others, 3))
        stop = min(run.step, first + max(widths, 1) * thinning.others)
        whole = stop == run.step
        ended = whole and run.ended
        portion = Portion(run, first, stop, ended=ended, thinning=thinning)
        closes = ended and _only_files(run)
        points = read(self._store, portion, problem.metric, self._evaluated)
        self.destination.send(run_id, [*points, *system(self._store, run, ended=closes)])
        if closes:
            close_run(self.destination, place, run, run_id, problem, thinning, self._files(run, place.name(run)))
        self._marks.mark_mirrored(run.id, stop, run_id, run.state if closes or (whole and not ended) else "running")
        return not whole

    def _tell(self, study_id: str) -> bool:
        """All of a study's runs are there: its ranking and report."""
        study = self._store.study(study_id)
        try:
            describe_study(self._store, self.destination, study, self._places.of_study(study).experiment)
        except Gone:
            log.info("report was deleted in MLflow", study=study.name)
        self._marks.mark_study_reported(study_id)
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
        last = BUSY_DELAY if isinstance(error, Busy) else LAST_DELAY
        seconds = min(2 * before.seconds, last) if before else FIRST_DELAY
        self._paused[what] = _Pause(self._clock() + seconds, seconds)
        log.warning("not mirrored", what=what, retry_seconds=seconds, error=str(error))


def _only_files(run: RunRow) -> bool:
    """Every point is there, and what is left is to close the run."""
    return run.ended and run.mirrored_step == run.step and run.mirrored_state is not None


class Copied:
    """Marks of one copy, kept in memory: runs as they stood when it began, none of them sent."""

    def __init__(self, runs: Sequence[RunRow]) -> None:
        """The runs of one study, or any that are of none."""
        self._runs = {
            run.id: replace(run, mlflow_run_id=None, mirrored_step=0, mirrored_state=None)
            for run in runs
            if run.state != "queued"
        }
        self._told: set[str] = set()

    def outbox(self, limit: int = 100) -> list[RunRow]:
        """Those that are not over there as they stand, in the order of their last mark."""
        waiting = (r for r in self._runs.values() if (r.mirrored_step, r.mirrored_state) != (r.step, r.state))
        return [run for _, run in zip(range(limit), waiting, strict=False)]

    def mark_mirrored(self, run_id: str, step: int, mlflow_run_id: str | None, state: RunState) -> None:
        """The steps 0 … step − 1 and the state are there."""
        run = self._runs.pop(run_id)
        known = mlflow_run_id or run.mlflow_run_id
        self._runs[run_id] = replace(run, mirrored_step=step, mlflow_run_id=known, mirrored_state=state)

    def mark_study_mirrored(self, study_id: str, experiment_id: str) -> None:
        """The store keeps the first server's experiment."""

    def unreported_studies(self, limit: int = 100) -> list[str]:
        """The study, once all of its runs have ended and are there."""
        studies = {run.study_id for run in self._runs.values() if run.study_id is not None}
        done = not self.outbox(1) and all(run.ended for run in self._runs.values())
        return sorted(studies - self._told) if done else []

    def mark_study_reported(self, study_id: str, told: bool = True) -> None:
        """The study's ranking and report are there."""
        self._told.add(study_id)


def copy_to(
    store: Store,
    destination: Destination,
    *,
    study: str | None,
    budget: Budget | int,
    at_once: int = 1,
    beside: RunFilesProcesses | None = None,
) -> int:
    """Send a study (by id or name), or where None everything, and return how many runs that were.

    What is there already is found and not sent anew. Raises NotFound for the study, Unreachable where the server does
    not answer, and TalwegError, naming them, where there are runs that it would not take.
    """
    sent = 0
    for runs in _portions(store, study):
        marks = Copied(runs)
        mirror = Mirror(store, destination, budget=budget, marks=marks, at_once=at_once, beside=beside)
        while mirror.drain():
            pass
        mirror.close()
        if refused := marks.outbox(_PAGE) or marks.unreported_studies():
            names = ", ".join(one.name if isinstance(one, RunRow) else f"report of {one}" for one in refused[:5])
            raise TalwegError(f"{destination.url}: does not take {len(refused)} of {len(runs)} runs: {names}")
        sent += len(runs)
    return sent


def _portions(store: Store, study: str | None) -> Iterator[list[RunRow]]:
    """The runs of a study; or those of each study in turn, and of none."""
    if study is not None:
        yield store.runs_of(store.study(study).id)
        return
    cursor: str | None = None
    while True:
        studies = store.studies(limit=_PAGE, cursor=cursor)
        for row in studies.items:
            yield store.runs_of(row.id)
        if (cursor := studies.cursor) is None:
            break
    while True:
        runs = store.runs(limit=_PAGE, cursor=cursor)
        yield [run for run in runs.items if run.study_id is None]
        if (cursor := runs.cursor) is None:
            return
