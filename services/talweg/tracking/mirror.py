"""The mirror: send the runs in the store's outbox to MLflow and record it in the store. Or send them to another server.

It may be killed at any point: it sends to MLflow first, by calls that may be repeated, and then records that in SQL.
What was sent but not recorded is sent again, and MLflow keeps it once. Sending to another server keeps its progress in
memory.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TypeVar

import structlog

from talweg.datasets.sources import serve
from talweg.errors import NotWritable, TalwegError, Unreachable
from talweg.records import problem_of
from talweg.spec import parse_run
from talweg.store import RunRow, RunState, Store
from talweg.tracking.delays import LAST_DELAY, Delays
from talweg.tracking.descriptions import close_run, describe_study, open_run, run_tags
from talweg.tracking.destination import Busy, Destination, Gone, Refused
from talweg.tracking.experiments import Experiments, MirrorProgress
from talweg.tracking.metrics import Budget, EvaluationCounts, Portion, metrics_a_step, plan, read, system
from talweg.tracking.naming import DESCRIPTION_TAG, NOTE_FILE
from talweg.tracking.run_files import drawn
from talweg.tracking.run_files_process import Files, RunFilesProcesses

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Points of a run that are sent before the next run's, and before the store records it.
PORTION = 10_000
# Runs that one pass reads from the outbox.
OUTBOX = 500
# Runs whose files one pass draws and attaches without drawing processes.
CLOSED = 4
# The least number of runs whose files are drawn in other processes, and the most that are drawn ahead.
MANY, AHEAD = 3, 16
# Runs whose points one pass sends.
PASS = 16
# The longest delay after MLflow answered Busy.
BUSY_DELAY = 60.0
_PAGE = 500


def any_of(do: Callable[[RunRow], bool], runs: Sequence[RunRow], *, at_once: int) -> bool:
    """Call `do` once for every run, in `at_once` threads; returns whether any call returned True.

    Once a call raises Unreachable no further call starts, and Unreachable is raised when the running ones have ended.
    """
    if at_once == 1 or len(runs) < 2:
        return True in [do(run) for run in runs]
    unreachable = threading.Event()

    def call(run: RunRow) -> bool:
        if unreachable.is_set():
            return False
        try:
            return do(run)
        except Unreachable:
            unreachable.set()
            raise

    with ThreadPoolExecutor(at_once, thread_name_prefix="sending") as threads:
        calls = [threads.submit(call, run) for run in runs]
        wait(calls)
    return True in [done.result() for done in calls]


class Mirror:
    """Sends runs from a store to an MLflow server. There must be at most one mirror for each server."""

    def __init__(
        self,
        store: Store,
        destination: Destination,
        *,
        budget: Budget | int,
        progress: MirrorProgress | None = None,
        clock: Callable[[], float] = time.monotonic,
        at_once: int = 1,
        drawing: RunFilesProcesses | None = None,
        files: bool = True,
    ) -> None:
        """A mirror of everything in `store`; the caller closes it.

        Args:
            store: The source of runs.
            destination: The MLflow server.
            budget: The points that MLflow takes; a number is for each run, however many there are.
            progress: What the server has already; the store's own record where None.
            clock: Seconds.
            at_once: How many runs' points are sent at a time.
            drawing: Processes that draw files where many runs wait for theirs; else files are drawn in this process.
            files: Whether runs get figures, page and record, beside their metrics.
        """
        serve(store)
        self.destination = destination
        self._store, self._at_once = store, at_once
        self._budget = Budget(budget, sys.maxsize) if isinstance(budget, int) else budget
        self._drawing, self._files = drawing, files
        self._progress: MirrorProgress = progress or store
        self._evaluated = EvaluationCounts(store)
        self._experiments = Experiments(store, self._progress, destination)
        self._delays = Delays(clock)

    def drain(self) -> bool:
        """Make one pass over the waiting runs; returns whether any has more to send right now.

        Points, and how a run ended, are sent before files, which take longer to draw than all the rest to send: files
        are drawn and attached while no run has points left. A run that MLflow refuses, or that cannot be read, is
        retried with growing delays and delays no other. Raises Unreachable where MLflow or the database does not
        answer; what was recorded until then stays recorded.
        """
        growing, _ = self._waiting()
        if self._send(growing[:PASS]) or len(growing) > PASS:
            return True
        _, closing = self._waiting()
        closed = self._close(closing, self._begin(closing))
        behind = closed < len(closing)
        if not closing:
            self.close()
        for study in () if behind else self._progress.unreported_studies(OUTBOX):
            self._guarded(study, self._describe_study, study)
        return behind

    def send_metrics(self) -> bool:
        """Part of `drain`: send a portion of each run that has points left; returns whether any has more."""
        growing, _ = self._waiting()
        return self._send(growing)

    def _waiting(self) -> tuple[list[RunRow], list[RunRow]]:
        """Runs that have points left, and those that only have to be closed; each the longest not mirrored first."""
        waiting = [run for run in self._progress.outbox(OUTBOX) if not self._delays.holds(run.id)]
        return [run for run in waiting if not _only_files(run)], [run for run in waiting if _only_files(run)]

    def _send(self, runs: Sequence[RunRow]) -> bool:
        return any_of(lambda run: self._guarded(run.id, self._mirror, run), runs, at_once=self._at_once)

    def close(self) -> None:
        """End the drawing processes; they are started again when needed."""
        if self._drawing is not None:
            self._drawing.close()

    def _begin(self, runs: Sequence[RunRow]) -> dict[str, Future[Files]]:
        """Begin to draw files in other processes, while points are sent; returns them by run."""
        if self._drawing is None or len(runs) < MANY:
            return {}
        return {run.id: self._drawing.begin(run, self._experiments.of(run).name(run)) for run in runs[:AHEAD]}

    def _close(self, runs: Sequence[RunRow], made: Mapping[str, Future[Files]]) -> int:
        """Attach the files of some of these runs; returns their number."""
        if made:
            wait(made.values(), return_when=FIRST_COMPLETED)
            runs = [run for run in runs if run.id in made and made[run.id].done()]
        else:
            runs = runs[:CLOSED]
        for run in runs:
            self._guarded(run.id, self._mirror, run)
        return len(runs)

    def _drawn(self, run: RunRow, title: str) -> Files:
        made = None if self._drawing is None else self._drawing.take(run)
        return drawn(self._store, run, title) if made is None else made

    def _guarded(self, what: str, do: Callable[[T], bool], argument: T) -> bool:
        """Return what `do` returns; False while `what` is delayed, or where `do` fails and delays it."""
        if self._delays.holds(what):
            return False
        try:
            more = do(argument)
        except (Unreachable, NotWritable):
            raise
        except TalwegError as error:
            self._delays.add(what, error, BUSY_DELAY if isinstance(error, Busy) else LAST_DELAY)
            if isinstance(argument, RunRow):
                # The same progress with a newer time: the run goes to the end of the outbox.
                self._progress.mark_mirrored(
                    argument.id, argument.mirrored_step, None, argument.mirrored_state or "queued"
                )
            return False
        self._delays.end(what)
        return more

    def _mirror(self, run: RunRow) -> bool:
        """Send the next portion of a run, whatever MLflow has of it; returns whether there is another."""
        if run.state == "queued":
            # It has no steps yet, and its start time is unknown.
            self._progress.mark_mirrored(run.id, 0, None, run.state)
            return False
        try:
            return self._send_portion(run)
        except Gone:
            self._skip_deleted(run)
            return False
        except Refused:
            stage = "active" if run.mlflow_run_id is None else self.destination.stage(run.mlflow_run_id)
            if stage == "active":
                raise
            if stage == "deleted":
                self._skip_deleted(run)
                return False
            # The server lost its content or is another one: send the run from the start.
            self._experiments.forget()
            return self._send_portion(replace(run, mlflow_run_id=None, mirrored_step=0))

    def _send_portion(self, run: RunRow) -> bool:
        """Send the next portion of a run and record it; returns whether there is another."""
        experiment = self._experiments.of(run)
        problem = problem_of(parse_run(run.spec))
        budget = self._budget.share(experiment.runs)
        thinning = plan(run, splits=len(problem.splits), metric=problem.metric is not None, budget=budget)
        run_id = run.mlflow_run_id or open_run(self.destination, experiment, run, problem, thinning)
        first = run.mirrored_step // thinning.others * thinning.others
        # Three steps of each bucket are sent.
        buckets = PORTION // (metrics_a_step(run) * min(thinning.others, 3))
        stop = min(run.step, first + max(buckets, 1) * thinning.others)
        whole = stop == run.step
        ended = whole and run.ended
        portion = Portion(run, first, stop, ended=ended, thinning=thinning)
        closes = ended and _only_files(run)
        points = read(self._store, portion, problem.metric, self._evaluated)
        self.destination.send(run_id, [*points, *system(self._store, run, ended=closes)])
        if ended and (not closes or run.mirrored_state == run.state):
            # The tags of a run that had ended when it was opened are there already.
            tags = {} if run.mlflow_run_id is None else run_tags(run, problem, thinning)
            close_run(self.destination, experiment, run, run_id, tags)
        if closes and self._files:
            note = run_tags(run, problem, thinning)[DESCRIPTION_TAG]
            self.destination.attach(run_id, {NOTE_FILE: note.encode(), **self._drawn(run, experiment.name(run))})
        done = closes or not self._files or not ended
        self._progress.mark_mirrored(run.id, stop, run_id, run.state if whole and done else "running")
        return not whole

    def _describe_study(self, study_id: str) -> bool:
        """Send the ranking and report of a study whose runs are mirrored."""
        study = self._store.study(study_id)
        try:
            describe_study(self._store, self.destination, study, self._experiments.of_study(study).id)
        except Gone:
            log.info("report was deleted in MLflow", study=study.name)
        self._progress.mark_study_reported(study_id)
        return False

    def _skip_deleted(self, run: RunRow) -> None:
        """Record a run that was deleted in MLflow as mirrored, so that it is not created again."""
        log.info("run was deleted in MLflow", run=run.name)
        self._progress.mark_mirrored(run.id, run.step, run.mlflow_run_id, run.state)


def _only_files(run: RunRow) -> bool:
    """Whether MLflow has every point and how the run ended, and only files are missing."""
    return run.ended and run.mirrored_step == run.step and run.mirrored_state is not None


class CopyProgress:
    """The progress of one copy, in memory: the runs as they were when it began, none of them sent."""

    def __init__(self, runs: Sequence[RunRow]) -> None:
        """`runs` are those of one study, or belong to none."""
        self._runs = {
            run.id: replace(run, mlflow_run_id=None, mirrored_step=0, mirrored_state=None)
            for run in runs
            if run.state != "queued"
        }
        self._described: set[str] = set()

    def outbox(self, limit: int = 100) -> list[RunRow]:
        """The runs that the server does not have in full, in the order of their last progress."""
        waiting = (r for r in self._runs.values() if (r.mirrored_step, r.mirrored_state) != (r.step, r.state))
        return [run for _, run in zip(range(limit), waiting, strict=False)]

    def mark_mirrored(self, run_id: str, step: int, mlflow_run_id: str | None, state: RunState) -> None:
        """Record that the server has the steps 0 … step − 1 and the state."""
        run = self._runs.pop(run_id)
        known = mlflow_run_id or run.mlflow_run_id
        self._runs[run_id] = replace(run, mirrored_step=step, mlflow_run_id=known, mirrored_state=state)

    def mark_study_mirrored(self, study_id: str, experiment_id: str) -> None:
        """Nothing to record: the store keeps the first server's experiment."""

    def unreported_studies(self, limit: int = 100) -> list[str]:
        """The study, once all of its runs have ended and are on the server."""
        studies = {run.study_id for run in self._runs.values() if run.study_id is not None}
        done = not self.outbox(1) and all(run.ended for run in self._runs.values())
        return sorted(studies - self._described) if done else []

    def mark_study_reported(self, study_id: str, reported: bool = True) -> None:
        """Record that the server has the study's ranking and report."""
        self._described.add(study_id)


def copy_to(
    store: Store,
    destination: Destination,
    *,
    study: str | None,
    budget: Budget | int,
    at_once: int = 1,
    drawing: RunFilesProcesses | None = None,
) -> int:
    """Send a study (by id or name), or everything where None, and return the number of runs.

    What the server has already is not created again. Raises NotFound for the study, Unreachable where the server does
    not answer, and TalwegError with the names of runs that it refuses.
    """
    sent = 0
    for runs in _portions(store, study):
        progress = CopyProgress(runs)
        mirror = Mirror(store, destination, budget=budget, progress=progress, at_once=at_once, drawing=drawing)
        while mirror.drain():
            pass
        mirror.close()
        if refused := progress.outbox(_PAGE) or progress.unreported_studies():
            names = ", ".join(one.name if isinstance(one, RunRow) else f"report of {one}" for one in refused[:5])
            raise TalwegError(f"MLflow at {destination.url}: refused {len(refused)} of {len(runs)} runs: {names}")
        sent += len(runs)
    return sent


def _portions(store: Store, study: str | None) -> Iterator[list[RunRow]]:
    """The runs of a study; or those of each study in turn, and then those of no study."""
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
