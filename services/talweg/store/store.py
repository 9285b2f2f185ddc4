"""The Store: each method is one transaction; the SQL stands in the modules beside."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, Engine

from talweg.store import (
    cancelling,
    commits,
    leaders,
    leases,
    outbox,
    pausing,
    reading,
    resuming,
    retrying,
    runs,
    stages,
    studies,
    tokens,
)
from talweg.store.batch import Checkpoint, Chunk, CommitBatch, NewCohort, NewRun, NewStudy
from talweg.store.engine import create_engine, translated
from talweg.store.rows import (
    Asked,
    ChunkRow,
    Claim,
    CohortRow,
    DerivativeRow,
    EvaluationRow,
    Json,
    Page,
    Quantity,
    RunRow,
    RunState,
    StepTable,
    StudyRow,
    Submitted,
    TokenRow,
)
from talweg.store.signs import Signs
from talweg.store.signs import signs as read_signs


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


class Store:
    """A laboratory's database. May be shared between threads; a process opens its own.

    Every method raises Unreachable where the database does not answer.
    """

    def __init__(self, engine: Engine) -> None:
        """`open_store` is how one is made."""
        self._engine = engine
        self._writer = engine.execution_options(talweg_writes=True)

    def __enter__(self) -> "Store":
        """The store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Give back every connection."""
        self._engine.dispose()

    def ping(self) -> None:
        """Raises Unreachable where the database does not answer."""
        with self._read() as connection:
            connection.exec_driver_sql("SELECT 1")

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine: for tests, exports and people; nothing else of ours writes SQL."""
        return self._engine

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with translated(), self._writer.begin() as connection:
            yield connection

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
        """
        with self._write() as connection:
            return runs.submit(connection, study, new_runs, cohorts, idempotency_key, checkpoints)

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

    def extend_study(self, study_id: str, new_runs: Sequence[NewRun], cohorts: Sequence[NewCohort]) -> bool:
        """Add a study's last stage and close it; false, and nothing is written, where it was closed before.

        Raises Conflict where a run's name is taken.
        """
        with self._write() as connection:
            return stages.extend(connection, study_id, new_runs, cohorts)

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

    def cohort(self, cohort_id: str) -> CohortRow:
        """The cohort of that id; raises NotFound."""
        with self._read() as connection:
            return leases.find(connection, cohort_id)

    def cohort_counts(self) -> dict[str, int]:
        """How many cohorts stand in each state."""
        with self._read() as connection:
            return leases.counts(connection)

    def mark_published(self, cohort_ids: Iterable[str]) -> None:
        """Note that the ids were given to the broker now."""
        with self._write() as connection:
            leases.mark_published(connection, cohort_ids)

    def unpublished(self, older_than_seconds: float, limit: int = 1000) -> list[str]:
        """Queued cohorts that no one took up for so long; the wait doubles with each publication."""
        with self._read() as connection:
            return leases.unpublished(connection, older_than_seconds, limit)

    def requeue_expired(self, max_attempts: int) -> list[str]:
        """Take back every cohort whose lease ran out: the ids that are queued again, to be published.

        One that was tried `max_attempts` times without progress is quarantined instead.
        """
        with self._write() as connection:
            return leases.requeue_expired(connection, max_attempts)

    def claim(self, cohort_id: str, owner: str, lease_seconds: float) -> Claim | None:
        """Take a cohort that is queued, or whose lease ran out; its runs read "running" from here on.

        None where it is finished, quarantined, leased to another or unknown.
        """
        with self._write() as connection:
            return leases.claim(connection, cohort_id, owner, lease_seconds)

    def heartbeat(self, claim: Claim, lease_seconds: float) -> None:
        """Extend the lease; raises LeaseLost."""
        with self._write() as connection:
            leases.extend(connection, claim, lease_seconds)

    def commit(self, claim: Claim, batch: CommitBatch, *, again: bool = False) -> None:
        """Make a batch durable, whole or not at all; raises LeaseLost.

        `again`: an earlier call with this batch ended in Unreachable, which does not tell whether it was written.
        """
        prepared = commits.prepare(batch)
        with self._write() as connection:
            commits.write(connection, claim, prepared, again=again)

    def finish(self, claim: Claim) -> None:
        """Close the cohort: its runs have ended; raises LeaseLost."""
        with self._write() as connection:
            leases.finish(connection, claim)

    def release(self, claim: Claim, reason: str | None = None) -> None:
        """Leave in order: queued again, and the attempt does not count; raises LeaseLost.

        Runs that were asked to rest do so; `reason` stays with the cohort, where it was left for one.
        """
        with self._write() as connection:
            leases.release(connection, claim, reason)

    def fail(self, claim: Claim, traceback: str, max_attempts: int) -> Literal["queued", "quarantined"]:
        """Leave in disorder: queued again, or quarantined after `max_attempts` without progress; raises LeaseLost.

        Several runs are queued each in a cohort of its own: the next attempt shows which of them it was.
        """
        with self._write() as connection:
            return leases.fail(connection, claim, traceback, max_attempts)

    def request_cancel(self, run_ids: Iterable[str] = (), *, study: str | None = None) -> None:
        """Ask live runs to stop: queued ones are cancelled at once, running ones at their worker's next commit.

        Raises:
            NotFound: There is no such study.
        """
        with self._write() as connection:
            cancelling.request_cancel(connection, list(run_ids), study)

    def asked(self, claim: Claim) -> Asked:
        """What was asked of the claim's live runs."""
        with self._read() as connection:
            return leases.asked(connection, claim)

    def request_pause(self, run_ids: Iterable[str] = (), *, study: str | None = None) -> None:
        """Ask live runs to rest: queued ones do at once, running ones at their worker's next commit.

        Raises:
            NotFound: There is no such study.
        """
        with self._write() as connection:
            pausing.request_pause(connection, list(run_ids), study)

    def unpause(self, run_ids: Iterable[str] = (), *, study: str | None = None) -> list[str]:
        """Let runs that rest go on; the ids of their cohorts, to be published. Raises NotFound."""
        with self._write() as connection:
            return pausing.unpause(connection, list(run_ids), study)

    def retry(self, run_ids: Iterable[str] = (), *, study: str | None = None) -> list[str]:
        """Queue failed runs again, from their last commit; the ids of their new cohorts, to be published.

        Raises:
            NotFound: There is no such study.
        """
        with self._write() as connection:
            return retrying.retry(connection, list(run_ids), study)

    def mirror_again(self, run_ids: Iterable[str] = (), *, study: str | None = None) -> int:
        """Forget what MLflow was told of these runs, so that the mirror tells it anew; how many. Raises NotFound."""
        with self._write() as connection:
            return outbox.forget(connection, list(run_ids), study)

    def signs(self) -> Signs:
        """Signs of trouble, as of now."""
        with self._read() as connection:
            return read_signs(connection)

    def lead(self, role: str, owner: str, seconds: float) -> bool:
        """Whether `owner` is who does the role's work for the next so many seconds; another may be."""
        with self._write() as connection:
            return leaders.lead(connection, role, owner, seconds)

    def step_down(self, role: str, owner: str) -> None:
        """Let another lead at once; nothing happens where `owner` does not lead."""
        with self._write() as connection:
            leaders.step_down(connection, role, owner)

    def latest_checkpoints(self, run_ids: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """By run, the last checkpoint's step and payload; runs without one are left out. Raises CorruptRecord."""
        with self._read() as connection:
            return reading.latest_checkpoints(connection, run_ids)

    def checkpoint_before(self, run_id: str, step: int) -> tuple[int, bytes] | None:
        """The run's last checkpoint at or before `step`; raises CorruptRecord."""
        with self._read() as connection:
            return reading.checkpoint_before(connection, run_id, step)

    def checkpoint_digest(self, run_id: str, step: int) -> str | None:
        """The digest of the run's checkpoint at exactly this step, None where there is none."""
        with self._read() as connection:
            return reading.checkpoint_digest(connection, run_id, step)

    def steps(self, run_id: str, start: int = 0, stop: int | None = None) -> StepTable:
        """The recorded ones of the steps start … stop − 1, as columns."""
        with self._read() as connection:
            return reading.steps(connection, run_id, start, stop)

    def evaluations(self, run_id: str) -> list[EvaluationRow]:
        """Every evaluation, by step, then split."""
        with self._read() as connection:
            return reading.evaluations(connection, run_id)

    def derivatives(self, run_id: str, start: int = 0, stop: int | None = None) -> list[DerivativeRow]:
        """Rows of the steps start … stop − 1, by step; empty for runs of more than 32 coordinates."""
        with self._read() as connection:
            return reading.derivatives(connection, run_id, start, stop)

    def chunks(self, run_id: str, quantity: Quantity, start: int, stop: int) -> list[ChunkRow]:
        """The chunks that hold any of the steps start … stop − 1, in order; `ChunkRow.array` checks the digest."""
        with self._read() as connection:
            return reading.chunks(connection, run_id, quantity, start, stop)

    def replace_chunk(self, chunk: Chunk) -> None:
        """Put these bytes in place of a damaged chunk of the same run, quantity and steps; raises NotFound."""
        with self._write() as connection:
            resuming.replace_chunk(connection, chunk)

    def outbox(self, limit: int = 100) -> list[RunRow]:
        """Runs of which MLflow does not know everything yet, longest not mirrored first."""
        with self._read() as connection:
            return outbox.pending(connection, limit)

    def mark_mirrored(self, run_id: str, step: int, mlflow_run_id: str | None, state: RunState) -> None:
        """Note that MLflow has the steps 0 … step − 1 and the state; what came since stays in the outbox."""
        with self._write() as connection:
            outbox.mark(connection, run_id, step, mlflow_run_id, state)

    def add_token(self, digest: str, name: str, scopes: Iterable[str], expires_at: datetime | None = None) -> None:
        """Let in whoever holds the token of this digest; raises Conflict where digest or name is taken."""
        with self._write() as connection:
            tokens.add(connection, digest, name, tuple(scopes), expires_at)

    def find_token(self, digest: str) -> TokenRow | None:
        """The token of this digest, revoked and expired ones too."""
        with self._read() as connection:
            return tokens.find(connection, digest)

    def tokens(self) -> list[TokenRow]:
        """Every token, by name."""
        with self._read() as connection:
            return tokens.all_of_them(connection)

    def revoke_token(self, name: str) -> None:
        """End a token now; raises NotFound."""
        with self._write() as connection:
            tokens.revoke(connection, name)

    def facts(self) -> Mapping[str, str]:
        """What the laboratory knows about itself: the version that made and last migrated it."""
        with self._read() as connection:
            return reading.facts(connection)
