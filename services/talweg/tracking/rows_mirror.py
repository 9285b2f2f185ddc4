"""The mirror to our own MLflow server: rows in its database, written in bulk, and nothing else.

The server's plug-in reads metric histories from the laboratory and makes files when they are opened, so a run is in
MLflow, with every step, once its rows are. The mirror may be killed at any point: it writes to MLflow first, by
statements that may be repeated, and then records that in the laboratory.
"""

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import structlog

from talweg.comparison.from_store import comparison_of
from talweg.datasets.sources import serve
from talweg.errors import NotFound, NotWritable, TalwegError, Unreachable
from talweg.figures.colours import BLACK
from talweg.records import problem_of
from talweg.spec import parse_run
from talweg.store import RunRow, Store
from talweg.tracking.delays import Delays
from talweg.tracking.descriptions import (
    dataset_of,
    run_tags,
    study_end,
    study_note,
    study_run,
    study_run_name,
    study_tags,
)
from talweg.tracking.experiments import NO_STUDY, Experiments
from talweg.tracking.histories import last_values
from talweg.tracking.metrics import Series, Thinning, milliseconds
from talweg.tracking.mlflow_rows import MlflowRows, MlflowRun
from talweg.tracking.naming import DESCRIPTION_TAG, parameters, status

# Runs of one transaction: on SQLite, no one else can write to MLflow while it lasts, and MLflow waits only 5 s for it.
AT_ONCE = 250

T = TypeVar("T")

log = structlog.get_logger(__name__)


class RowsMirror:
    """Writes runs from a store to MLflow's database. There must be at most one mirror for each."""

    def __init__(
        self, store: Store, rows: MlflowRows, *, clock: Callable[[], float] = time.monotonic, apart: bool = False
    ) -> None:
        """A mirror of everything in `store`; `clock` gives seconds.

        With `apart`, a study's results are computed in a thread of their own: those of 20,000 runs take seconds, and
        longer where every step is judged, in which runs of other studies would wait.
        """
        serve(store)
        self._store, self._rows = store, rows
        self._experiments = Experiments(store, store, rows)
        self._delays = Delays(clock)
        self._apart = apart
        self._describing: threading.Thread | None = None

    def drain(self) -> bool:
        """Write the next runs of the outbox; returns whether there are more.

        A run that cannot be read is tried again with growing delays and delays no other. Raises Unreachable where
        MLflow's database or the laboratory's does not answer.
        """
        waiting = self._store.outbox(AT_ONCE)
        ready = [run for run in waiting if not self._delays.holds(run.id)]
        queued = [run for run in ready if run.state == "queued"]
        # Queued runs have no steps yet, and their start time is unknown.
        written = self._write([run for run in ready if run.state != "queued"])
        self._store.mark_all_mirrored([*((run, None) for run in queued), *written])
        if len(ready) == AT_ONCE:
            return True
        self._describe_studies()
        return False

    def close(self) -> None:
        """Close the connections to MLflow's database."""
        self._rows.close()

    def _write(self, runs: Sequence[RunRow]) -> list[tuple[RunRow, str]]:
        """Write runs that have begun; the runs that were written, with MLflow's ids."""
        made: list[tuple[RunRow, MlflowRun]] = []
        for run, points in self._readable(runs):
            if (row := self._guarded(run.id, partial(self._row, run, points))) is not None:
                made.append((run, row))
            else:
                self._defer(run)
        if alone := next((row for run, row in made if run.study_id is None and run.mlflow_run_id is None), None):
            # The experiment of all single runs, which a user may have deleted: new ones must be seen.
            self._rows.restore_experiment(alone.experiment)
        try:
            self._rows.write([row for _, row in made])
        except NotFound:
            # The server lost its content, or is another one: everything is found or made again.
            self._experiments.forget()
            self._rows.forget()
            raise Unreachable("MLflow's database: lost an experiment; the mirror makes it again") from None
        return [(run, row.id) for run, row in made]

    def _readable(self, runs: Sequence[RunRow]) -> list[tuple[RunRow, list[Series]]]:
        """The runs with their last values; where one cannot be read, the others one by one."""
        try:
            return list(last_values(self._store, runs))
        except (Unreachable, NotWritable):
            raise
        except TalwegError:
            readable = []
            for run in runs:
                found = self._guarded(run.id, partial(self._last, run))
                if found is None:
                    self._defer(run)
                else:
                    readable += found
            return readable

    def _last(self, run: RunRow) -> list[tuple[RunRow, list[Series]]]:
        return list(last_values(self._store, [run]))

    def _defer(self, run: RunRow) -> None:
        """Put the run at the end of the outbox."""
        self._store.mark_mirrored(run.id, run.mirrored_step, None, run.mirrored_state or "queued")

    def _row(self, run: RunRow, points: Sequence[Series]) -> MlflowRun:
        experiment = self._experiments.of(run)
        problem = problem_of(parse_run(run.spec))
        return MlflowRun(
            id=run.mlflow_run_id or self._rows.identify(run.id),
            source=run.id,
            study=run.study_id or NO_STUDY,
            experiment=experiment.id,
            name=experiment.name(run),
            live_name=experiment.name(run, live=True),
            status=status(run.state),
            start=milliseconds(run.started_at or run.created_at),
            end=milliseconds(run.finished_at or run.created_at) if run.ended else None,
            tags=run_tags(run, problem, Thinning()),
            parameters=parameters(run.spec),
            colour=experiment.colour(run),
            metrics=points,
            dataset=dataset_of(problem),
            fresh=run.mirrored_state is None,
        )

    def _describe_studies(self) -> None:
        if self._describing is not None and self._describing.is_alive():
            return
        studies = [study for study in self._store.unreported_studies(AT_ONCE) if not self._delays.holds(study)]
        if self._apart and studies:
            # A daemon: the mirror ends without waiting for it, and the next one begins it again.
            self._describing = threading.Thread(target=self._describe_apart, args=(studies[0],), daemon=True)
            self._describing.start()
            return
        for study in studies:
            self._guarded(study, partial(self._describe, study))

    def _describe_apart(self, study: str) -> None:
        try:
            self._guarded(study, partial(self._describe, study))
        except (Unreachable, NotWritable) as error:
            self._delays.add(study, error)

    def _describe(self, study_id: str) -> bool:
        """Write the study's own run and the descriptions with its results."""
        study = self._store.study(study_id)
        experiment = self._experiments.of_study(study)
        source = study_run(study_id)
        run_id, end = self._rows.identify(source), study_end(self._store, study)
        note = study_note(study, comparison_of(self._store, study), experiment.id, run_id)
        name = study_run_name(study)
        self._rows.write(
            [
                MlflowRun(
                    id=run_id,
                    source=source,
                    study=study_id,
                    experiment=experiment.id,
                    name=name,
                    live_name=name,
                    status=status(study.state),
                    start=end,
                    end=end,
                    tags=study_tags(study) | note,
                    colour=BLACK,
                )
            ]
        )
        self._rows.annotate(experiment.id, note[DESCRIPTION_TAG])
        self._store.mark_study_reported(study_id)
        return True

    def _guarded(self, what: str, do: Callable[[], T]) -> T | None:
        """What `do` returns; None while `what` is delayed, or where `do` fails and delays it."""
        if self._delays.holds(what):
            return None
        try:
            found = do()
        except (Unreachable, NotWritable):
            raise
        except TalwegError as error:
            self._delays.add(what, error)
            return None
        self._delays.end(what)
        return found
