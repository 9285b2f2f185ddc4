"""The Store: each method is one transaction; the SQL stands in the modules beside."""

from collections.abc import Mapping, Sequence

from talweg.store import (
    metering,
    outbox,
    quotas,
    reading,
    resuming,
    runs,
    stages,
    studies,
)
from talweg.store.access import Access
from talweg.store.batch import Checkpoint, Extension, NewCohort, NewRun, NewStudy
from talweg.store.engine import create_engine
from talweg.store.recorded import Recorded
from talweg.store.rows import (
    Json,
    Meter,
    Page,
    RunRow,
    RunState,
    StudyRow,
    Submitted,
)
from talweg.store.work import Work


def open_store(url: str, *, create: bool = False) -> "Store":
    """The store behind a database URL (`sqlite:///…` or `postgresql://…`).

    Args:
        url: Where it is; may hold a password, and is never shown.
        create: Bring the database to this version's schema first, making it where there is none.

    Raises:
        NewerLaboratory: A newer version of Talweg has been here.
        NotFound: There is no laboratory there, and `create` is false.
        NotWritable: The database's file or folder cannot be written.
        Unreachable: The database does not answer.
    """
    # It is a command as well: imported with the package, `python -m` would run a second copy of it.
    from talweg.store import migrate

    if create:
        migrate.upgrade(url)
    engine = create_engine(url)
    try:
        migrate.ensure_current(engine)
    except BaseException:
        engine.dispose()
        raise
    return Store(engine)


class Store(Work, Recorded, Access):
    """A laboratory's database. May be shared between threads; a process opens its own.

    Every method raises Unreachable where the database does not answer.
    """

    def submit(
        self,
        study: NewStudy | None,
        new_runs: Sequence[NewRun],
        cohorts: Sequence[NewCohort],
        idempotency_key: str | None = None,
        checkpoints: Sequence[Checkpoint] = (),
    ) -> Submitted:
        """Write new work whole, with the checkpoints that forks begin from.

        The same key with the same specs gives the first answer again, and writes nothing.

        Raises:
            Conflict: The key stands for other specs, or a name is taken.
            LimitReached: The token on whose behalf this is would hold more than it may.
        """
        with self._write() as connection:
            if self._charged is not None:
                quotas.hold(connection, self._charged[0])
            submitted = runs.submit(connection, study, new_runs, cohorts, idempotency_key, checkpoints)
            if self._charged is not None and not submitted.repeated:
                quotas.charge(connection, *self._charged, submitted.cohort_ids)
            return submitted

    def resume(
        self,
        run: RunRow,
        cohort: NewCohort,
        *,
        spec: Json,
        spec_digest: str,
        steps: int,
        keep: bool,
    ) -> None:
        """Queue an ended run again, alone in a new cohort, to go on to `steps` steps.

        `keep`: its last checkpoint is one that stays.

        Raises:
            Conflict: The run is not as `run` says any more.
        """
        with self._write() as connection:
            resuming.resume(connection, run, cohort, spec, spec_digest, steps, keep=keep)

    def run(self, id_or_name: str) -> RunRow:
        """The run of that id, else of that name; raises NotFound."""
        with self._read() as connection:
            return runs.find(connection, id_or_name)

    def runs(
        self, study: str | None = None, state: RunState | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[RunRow]:
        """Runs, newest first, of a study (id or name) and in a state where asked.

        Raises:
            NotFound: There is no such study.
            InvalidSpec: The cursor or the state is none.
        """
        with self._read() as connection:
            return runs.page(connection, study, state, limit, cursor)

    def study(self, id_or_name: str) -> StudyRow:
        """The study of that id, else of that name; raises NotFound."""
        with self._read() as connection:
            return studies.find(connection, id_or_name)

    def studies(self, limit: int = 50, cursor: str | None = None) -> Page[StudyRow]:
        """Studies, newest first; raises InvalidSpec where the cursor is none."""
        with self._read() as connection:
            return studies.page(connection, limit, cursor)

    def runs_of(self, study_id: str) -> list[RunRow]:
        """All runs of a study, in the order of its spec."""
        with self._read() as connection:
            return runs.of_study(connection, study_id)

    def mark_study_mirrored(self, study_id: str, experiment_id: str) -> None:
        """Note which MLflow experiment mirrors the study."""
        with self._write() as connection:
            studies.mark_mirrored(connection, study_id, experiment_id)

    def studies_to_extend(self) -> list[str]:
        """Ids of the open studies whose runs have all ended: their next stage is due."""
        with self._read() as connection:
            return stages.ready(connection)

    def extend_study(self, study_id: str, extension: Extension) -> bool:
        """Add a study's next stage; false, and nothing is written, where it was closed or extended meanwhile.

        Raises Conflict where a run's name is taken.
        """
        with self._write() as connection:
            return stages.extend(connection, study_id, extension)

    def resume_study(self, study_id: str, cohorts: Mapping[str, Sequence[str]], *, reopen: bool = False) -> list[str]:
        """Queue cancelled and failed runs of a study again, to go on from their last checkpoints.

        `cohorts` are new ids with the runs that each shall have, all at one step. Returns those to be published.
        """
        with self._write() as connection:
            return stages.resume(connection, study_id, cohorts, reopen)

    def untold_studies(self, limit: int = 100) -> list[str]:
        """Ids of studies that have ended and are mirrored run by run, but as a whole not yet."""
        with self._read() as connection:
            return studies.untold(connection, limit)

    def mark_study_told(self, study_id: str, told: bool = True) -> None:
        """Note that MLflow has the study's ranking and report; or, with `told` false, that it is to get them again."""
        with self._write() as connection:
            studies.mark_told(connection, study_id, told)

    def outbox(self, limit: int = 100) -> list[RunRow]:
        """Runs of which MLflow does not know everything yet, longest not mirrored first."""
        with self._read() as connection:
            return outbox.pending(connection, limit)

    def mark_mirrored(self, run_id: str, step: int, mlflow_run_id: str | None, state: RunState) -> None:
        """Note that MLflow has the steps 0 … step − 1 and the state; what came since stays in the outbox."""
        with self._write() as connection:
            outbox.mark(connection, run_id, step, mlflow_run_id, state)

    def meter(self) -> Meter:
        """How the laboratory stands, in numbers."""
        with self._read() as connection:
            return metering.meter(connection)

    def facts(self) -> Mapping[str, str]:
        """What the laboratory knows about itself: the version that made and last migrated it."""
        with self._read() as connection:
            return reading.facts(connection)
