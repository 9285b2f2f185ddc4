"""Everything that is recorded, sent to another MLflow server at once; the first server's marks are left alone."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from talweg.errors import TalwegError
from talweg.store import RunRow, RunState, Store
from talweg.tracking.destination import Destination
from talweg.tracking.metrics import Budget
from talweg.tracking.mirror import Mirror
from talweg.tracking.run_files_process import RunFilesProcesses

_PAGE = 500


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

    def untold_studies(self, limit: int = 100) -> list[str]:
        """The study, once all of its runs have ended and are there."""
        studies = {run.study_id for run in self._runs.values() if run.study_id is not None}
        done = not self.outbox(1) and all(run.ended for run in self._runs.values())
        return sorted(studies - self._told) if done else []

    def mark_study_told(self, study_id: str, told: bool = True) -> None:
        """The study's ranking and report are there."""
        self._told.add(study_id)


def copy(
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
        if refused := marks.outbox(_PAGE) or marks.untold_studies():
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
