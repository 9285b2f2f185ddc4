"""The Store: each method is one transaction; the SQL is in the other modules of this package."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from talweg.store import access, archive, commits, leases, monitoring, queueing, records, runs, studies
from talweg.store.access import Access
from talweg.store.batch import Checkpoint, Chunk, CommitBatch, Extension, NewCohort, NewRun, NewStudy, Sample
from talweg.store.engine import Database, create_engine
from talweg.store.monitoring import Backlog, Signs, Waits
from talweg.store.monitoring import signs as read_signs
from talweg.store.monitoring import waits as read_waits
from talweg.store.outcomes import Outcomes
from talweg.store.rows import (
    Claim,
    CohortRow,
    DerivativeRow,
    EvaluationRow,
    Json,
    LatestValues,
    Meter,
    Page,
    Quantity,
    ReplayBasis,
    Requests,
    RunRow,
    RunState,
    SampleRow,
    StepTable,
    StudyRow,
    Submitted,
)


class Cohorts(Database):
    """Cohorts from queued to finished; each method is one transaction."""

    def cohort(self, cohort_id: str) -> CohortRow:
        """The cohort of that id; raises NotFound."""
        with self._read() as connection:
            return leases.find(connection, cohort_id)

    def runs_in(self, cohort_id: str) -> tuple[RunRow, ...]:
        """The runs of a cohort, by their row; none where there is no such cohort."""
        with self._read() as connection:
            return leases.runs_in(connection, cohort_id)

    def cohort_counts(self) -> dict[str, int]:
        """The number of cohorts by state."""
        with self._read() as connection:
            return leases.counts(connection)

    def mark_published(self, cohort_ids: Iterable[str]) -> None:
        """Record that these cohorts were published now."""
        with self._write() as connection:
            leases.mark_published(connection, cohort_ids)

    def unpublished(self, older_than_seconds: float, limit: int = 1000) -> list[str]:
        """Queued cohorts that no worker claimed for this long; the wait doubles with each publication."""
        with self._read() as connection:
            return leases.unpublished(connection, older_than_seconds, limit)

    def renew_expired(self, lease_seconds: float) -> None:
        """Extend every lease that ran out, after a time in which the database took no writes."""
        with self._write() as connection:
            leases.renew_expired(connection, lease_seconds)

    def requeue_expired(
        self, max_attempts: int, *, given_up: list[str] | None = None, counted: bool = True
    ) -> list[str]:
        """Queue every cohort whose lease ran out again; returns the ids, to be published.

        A cohort that had `max_attempts` attempts without progress is quarantined instead, and its id is added to
        `given_up`; where the attempt is not `counted`, none is quarantined.
        """
        with self._write() as connection:
            queued = leases.requeue_expired(connection, max_attempts, given_up, counted=counted)
            monitoring.count(connection, monitoring.LEASES_LOST, len(queued))
            return queued

    def claim(
        self,
        cohort_id: str,
        owner: str,
        lease_seconds: float,
        *,
        claim_id: str | None = None,
        max_attempts: int | None = None,
    ) -> Claim | None:
        """Claim a cohort that is queued, or whose lease ran out; its runs become "running".

        None where it is finished, quarantined, leased to another worker or unknown, or where its lease ran out at the
        last of `max_attempts`: `requeue_expired` then quarantines it. A caller that passes a `claim_id` (a new uuid)
        may call again with it when no answer came, and gets the claim that it has.

        Raises TalwegError where the database was migrated since it was opened: a worker with another schema must not
        start.
        """
        from talweg.store import migrate

        with self._write() as connection:
            migrate.check_revision(connection)
            return leases.claim(connection, cohort_id, owner, lease_seconds, claim_id, max_attempts)

    def heartbeat(self, claim: Claim, lease_seconds: float) -> None:
        """Extend the lease; raises LeaseLost."""
        with self._write() as connection:
            leases.extend(connection, claim, lease_seconds)

    def add_sample(self, claim: Claim, sample: Sample) -> None:
        """Store a sample of the claim's worker; a stored sample of this number is not replaced."""
        with self._write() as connection:
            monitoring.add_sample(connection, claim, sample)

    def samples(self, cohort_id: str) -> list[SampleRow]:
        """The samples of the cohort's workers, oldest first."""
        with self._read() as connection:
            return monitoring.samples_of(connection, cohort_id)

    def commit(self, claim: Claim, batch: CommitBatch, *, again: bool = False) -> None:
        """Make a batch durable, whole or not at all; raises LeaseLost.

        `again`: an earlier call with this batch raised Unreachable, so the batch may or may not be written.
        """
        prepared = commits.prepare(batch)
        with self._write() as connection:
            commits.write(connection, claim, prepared, again=again)

    def finish(self, claim: Claim) -> None:
        """Close the cohort: its runs have ended; raises LeaseLost."""
        with self._write() as connection:
            leases.finish(connection, claim)

    def release(self, claim: Claim, reason: str | None = None) -> None:
        """End the claim in order: the cohort is queued again, the attempt does not count; raises LeaseLost.

        Runs with a pause request are paused. A `reason`, if given, is stored as the cohort's error.
        """
        with self._write() as connection:
            leases.release(connection, claim, reason)

    def fail(self, claim: Claim, traceback: str, max_attempts: int) -> Literal["queued", "quarantined"]:
        """End the claim after an error: queued again, or quarantined after `max_attempts` without progress.

        Several runs are each queued in a cohort of their own: the next attempt shows which of them fails. Raises
        LeaseLost.
        """
        with self._write() as connection:
            return leases.fail(connection, claim, traceback, max_attempts)

    def request_cancel(self, run_ids: Iterable[str] = (), *, study: str | None = None) -> None:
        """Cancel live runs: queued ones at once, running ones at their worker's next commit.

        Raises:
            NotFound: There is no such study.
        """
        with self._write() as connection:
            queueing.request_cancel(connection, list(run_ids), study)

    def requests(self, claim: Claim) -> Requests:
        """The requests for the claim's live runs."""
        with self._read() as connection:
            return leases.requests(connection, claim)

    def request_pause(self, run_ids: Iterable[str] = (), *, study: str | None = None) -> None:
        """Pause live runs: queued ones at once, running ones at their worker's next commit.

        Raises:
            NotFound: There is no such study.
        """
        with self._write() as connection:
            queueing.request_pause(connection, list(run_ids), study)

    def unpause(self, run_ids: Iterable[str] = (), *, study: str | None = None) -> list[str]:
        """Unpause runs; the ids of their cohorts, to be published. Raises NotFound."""
        with self._write() as connection:
            return queueing.unpause(connection, list(run_ids), study)

    def retry(self, run_ids: Iterable[str] = (), *, study: str | None = None) -> list[str]:
        """Queue failed runs again, from their last commit; the ids of their new cohorts, to be published.

        Raises:
            NotFound: There is no such study.
        """
        with self._write() as connection:
            return queueing.retry(connection, list(run_ids), study)

    def mirror_again(self, run_ids: Iterable[str] = (), *, study: str | None = None) -> int:
        """Mark these runs as not mirrored, so that the mirror sends them again; returns how many. Raises NotFound."""
        with self._write() as connection:
            return runs.mirror_again(connection, list(run_ids), study)

    def signs(self) -> Signs:
        """Signs of trouble, read now."""
        with self._read() as connection:
            return read_signs(connection)

    def waits(self, run_id: str | None = None, *, study: str | None = None) -> Waits:
        """What the unfinished work of a run, or of a study, waits for; raises NotFound where there is no such study."""
        with self._read() as connection:
            return read_waits(connection, run_id, study)

    def lead(self, role: str, owner: str, seconds: float) -> bool:
        """Whether `owner` leads the role for the next `seconds`; false where another owner does."""
        with self._write() as connection:
            return leases.lead(connection, role, owner, seconds)

    def step_down(self, role: str, owner: str) -> None:
        """End the lead at once; does nothing where `owner` does not lead."""
        with self._write() as connection:
            leases.step_down(connection, role, owner)


class Records(Database):
    """Steps, evaluations, chunks and checkpoints; each method is one transaction."""

    def latest_checkpoints(self, run_ids: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """By run, the last checkpoint's step and payload; runs without one are left out. Raises CorruptRecord."""
        with self._read() as connection:
            return records.latest_checkpoints(connection, run_ids)

    def checkpoint_before(self, run_id: str, step: int) -> tuple[int, bytes] | None:
        """The run's last checkpoint at or before `step`; raises CorruptRecord."""
        with self._read() as connection:
            return records.checkpoint_before(connection, run_id, step)

    def replay_basis(self, run_id: str, start: int, end: int) -> ReplayBasis:
        """What the steps from `start` to `end` are recomputed from and compared with; raises CorruptRecord."""
        with self._read() as connection:
            return records.replay_basis(connection, run_id, start, end)

    def steps(self, run_id: str, start: int = 0, stop: int | None = None) -> StepTable:
        """The recorded steps among start … stop − 1, as columns."""
        with self._read() as connection:
            return records.steps(connection, run_id, start, stop)

    def evaluations(self, run_id: str, start: int = 0, limit: int | None = None) -> list[EvaluationRow]:
        """Every evaluation from step `start` on, by step, then split; at most `limit` of them."""
        with self._read() as connection:
            return records.evaluations(connection, run_id, start, limit)

    def derivatives(self, run_id: str, start: int = 0, stop: int | None = None) -> list[DerivativeRow]:
        """Rows of the steps start … stop − 1, by step; empty for runs of more than 32 coordinates."""
        with self._read() as connection:
            return records.derivatives(connection, run_id, start, stop)

    def coordinate(self, run_id: str, tensor: str, position: str, start: int, stop: int) -> NDArray[np.float64]:
        """(3, n): steps, parameter and derivative of one coordinate; n is 0 for runs of more than 32 coordinates."""
        with self._read() as connection:
            return records.coordinate(connection, run_id, tensor, position, start, stop)

    def latest(self, run_ids: Sequence[str]) -> LatestValues:
        """The last values of several runs, in a few queries for all of them."""
        with self._read() as connection:
            return records.latest(connection, run_ids)

    def chunks(self, run_id: str, quantity: Quantity, start: int, stop: int) -> list[Chunk]:
        """The chunks that hold any of the steps start … stop − 1, in order; `Chunk.array` checks the digest."""
        with self._read() as connection:
            return records.chunks(connection, run_id, quantity, start, stop)

    def chunk_bounds(self, run_id: str, quantity: Quantity, start: int, stop: int) -> list[tuple[int, int]]:
        """First step and end of the chunks that hold the steps, and of the two next to these, in order."""
        with self._read() as connection:
            return records.chunk_bounds(connection, run_id, quantity, start, stop)

    def replace_chunk(self, chunk: Chunk) -> None:
        """Replace the chunk of the same steps, or add it where it is missing; raises Conflict."""
        with self._write() as connection:
            records.replace_chunk(connection, chunk)

    def replace_checkpoint(self, run_id: str, step: int, payload: bytes) -> None:
        """Replace a damaged checkpoint by the bytes that have its digest; raises NotFound."""
        with self._write() as connection:
            records.replace_checkpoint(connection, run_id, step, payload)


def open_store(url: str, *, create: bool = False) -> "Store":
    """The store behind a database URL (`sqlite:///…` or `postgresql://…`).

    Args:
        url: The address; may hold a password, and is never shown.
        create: First create the database where there is none, and migrate it to this version's schema.

    Raises:
        NewerLaboratory: A newer version of Talweg has migrated the database.
        NotFound: The database holds no laboratory, and `create` is false.
        NotWritable: The database's file or folder cannot be written.
        Unreachable: The database does not answer.
    """
    # migrate is also a command: imported with the package, `python -m` would run a second copy of it.
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


class Store(Cohorts, Records, Outcomes, Access):
    """A laboratory's database. May be shared between threads; a process opens its own.

    Every method raises Unreachable where the database does not answer.
    """

    def check(self) -> None:
        """Raises Unreachable where the database does not answer, TalwegError where its schema is not this version's."""
        from talweg.store import migrate

        with self._read() as connection:
            migrate.check_revision(connection)

    def submit(
        self,
        study: NewStudy | None,
        new_runs: Sequence[NewRun],
        cohorts: Sequence[NewCohort],
        idempotency_key: str | None = None,
        checkpoints: Sequence[Checkpoint] = (),
    ) -> Submitted:
        """Write new work, all or nothing, with the checkpoints that forks start from.

        The same key with the same specs returns the first answer and writes nothing.

        Raises:
            Conflict: The key was used for other specs, or a name is taken.
            LimitReached: The token that is charged would exceed its quota.
        """
        with self._write() as connection:
            if self._charged is not None:
                access.hold_quota(connection, self._charged[0])
            submitted = runs.submit(connection, study, new_runs, cohorts, idempotency_key, checkpoints)
            if self._charged is not None and not submitted.repeated:
                access.charge_quota(connection, *self._charged, submitted.cohort_ids)
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
        """Queue an ended run again, alone in a new cohort, to continue to `steps` steps.

        `keep`: its last checkpoint is kept.

        Raises:
            Conflict: The run has changed since `run` was read.
        """
        with self._write() as connection:
            queueing.resume(connection, run, cohort, spec, spec_digest, steps, keep=keep)

    def run(self, id_or_name: str) -> RunRow:
        """The run of that id, else of that name; raises NotFound."""
        with self._read() as connection:
            return runs.find(connection, id_or_name)

    def runs(
        self,
        study: str | None = None,
        state: RunState | None = None,
        limit: int = 50,
        cursor: str | None = None,
        *,
        oldest: bool = False,
    ) -> Page[RunRow]:
        """Runs, newest or oldest first; only of one study (id or name) and in one state, if given.

        Raises:
            NotFound: There is no such study.
            InvalidSpec: The cursor or the state is not valid.
        """
        with self._read() as connection:
            return runs.page(connection, study, state, limit, cursor, oldest=oldest)

    def study(self, id_or_name: str) -> StudyRow:
        """The study of that id, else of that name; raises NotFound."""
        with self._read() as connection:
            return studies.find(connection, id_or_name)

    def studies(self, limit: int = 50, cursor: str | None = None) -> Page[StudyRow]:
        """Studies, newest first; raises InvalidSpec where the cursor is not valid."""
        with self._read() as connection:
            return studies.page(connection, limit, cursor)

    def runs_of(self, study_id: str) -> list[RunRow]:
        """All runs of a study, in the order of its spec."""
        with self._read() as connection:
            return runs.of_study(connection, study_id)

    def study_extent(self, study: str) -> archive.Extent:
        """How much a study holds; raises NotFound, and Conflict while it cannot be archived or forgotten."""
        with self._read() as connection:
            return archive.extent(connection, study)

    def study_rows(self, study_id: str) -> Iterator[tuple[str, Json]]:
        """Every row of a study with its table's name, in one transaction."""
        with self._read() as connection:
            yield from archive.rows(connection, study_id)

    def add_study(self, rows: Iterable[tuple[str, Json]]) -> None:
        """Write the rows of an archived study, all or nothing; raises Conflict or NotFound."""
        with self._write() as connection:
            archive.add(connection, rows)

    def forget_study(self, study_id: str) -> None:
        """Delete a study with all its records; raises NotFound, Conflict, or NotWritable for a role that may not."""
        with self._write() as connection:
            archive.extent(connection, study_id)
            archive.forget(connection, study_id)

    def mark_study_mirrored(self, study_id: str, experiment_id: str) -> None:
        """Record which MLflow experiment mirrors the study."""
        with self._write() as connection:
            studies.mark_mirrored(connection, study_id, experiment_id)

    def studies_to_extend(self) -> list[str]:
        """Ids of open studies whose runs have all ended: their next stage is due."""
        with self._read() as connection:
            return studies.to_extend(connection)

    def extend_study(self, study_id: str, extension: Extension) -> bool:
        """Add a study's next stage; false, and nothing written, where the study was closed or extended in between.

        Raises Conflict where a run's name is taken.
        """
        with self._write() as connection:
            return studies.extend(connection, study_id, extension)

    def resume_study(self, study_id: str, cohorts: Mapping[str, Sequence[str]], *, reopen: bool = False) -> list[str]:
        """Queue cancelled and failed runs of a study again, to continue from their last checkpoints.

        `cohorts` maps new ids to the runs of each, all at one step. Returns the ids to publish.
        """
        with self._write() as connection:
            return studies.resume(connection, study_id, cohorts, reopen)

    def unreported_studies(self, limit: int = 100) -> list[str]:
        """Ids of ended studies whose runs are all mirrored, but not yet their ranking and report."""
        with self._read() as connection:
            return studies.unreported(connection, limit)

    def mark_study_reported(self, study_id: str, reported: bool = True) -> None:
        """Record that MLflow has the study's ranking and report; with `reported` false, that it needs them again."""
        with self._write() as connection:
            studies.mark_reported(connection, study_id, reported)

    def outbox(self, limit: int = 100) -> list[RunRow]:
        """Runs that MLflow does not have completely yet, the longest waiting first."""
        with self._read() as connection:
            return runs.outbox(connection, limit)

    def mark_mirrored(self, run_id: str, step: int, mlflow_run_id: str | None, state: RunState) -> None:
        """Record that MLflow has the steps 0 … step − 1 and the state; a run with later commits stays in the outbox."""
        with self._write() as connection:
            runs.mark_mirrored(connection, [(run_id, step, mlflow_run_id, state)])

    def mark_all_mirrored(self, sent: Sequence[tuple[RunRow, str | None]]) -> None:
        """Record of many runs that MLflow has them as they were read, with the ids of their MLflow runs."""
        with self._write() as connection:
            runs.mark_mirrored(connection, [(run.id, run.step, mlflow_id, run.state) for run, mlflow_id in sent])

    def backlog(self) -> Backlog:
        """How far the mirror to MLflow is."""
        with self._read() as connection:
            return monitoring.backlog(connection)

    def meter(self) -> Meter:
        """Totals of the laboratory."""
        with self._read() as connection:
            return monitoring.meter(connection)

    def facts(self) -> Mapping[str, str]:
        """The versions that created and last migrated the database."""
        with self._read() as connection:
            return records.facts(connection)
