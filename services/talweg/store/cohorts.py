"""The Store's methods for cohorts, from queued to finished; each is one transaction."""

from collections.abc import Iterable
from typing import Literal

from talweg.store import commits, leases, monitoring, queueing, runs
from talweg.store.batch import CommitBatch, Sample
from talweg.store.engine import Database
from talweg.store.monitoring import Signs, Waits
from talweg.store.monitoring import signs as read_signs
from talweg.store.monitoring import waits as read_waits
from talweg.store.rows import (
    Asked,
    Claim,
    CohortRow,
    RunRow,
    SampleRow,
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

    def renew_expired(self, lease_seconds: float) -> None:
        """Extend every lease that ran out: nobody could, while the database took no writes."""
        with self._write() as connection:
            leases.renew_expired(connection, lease_seconds)

    def requeue_expired(
        self, max_attempts: int, *, given_up: list[str] | None = None, counted: bool = True
    ) -> list[str]:
        """Take back every cohort whose lease ran out: the ids that are queued again, to be published.

        One that was tried `max_attempts` times without progress is quarantined instead, and its id added to `given_up`;
        none is where the attempt is not `counted`.
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
        """Take a cohort that is queued, or whose lease ran out; its runs read "running" from here on.

        None where it is finished, quarantined, leased to another or unknown, or where its lease ran out at the last of
        `max_attempts`: that one is to be given up (`requeue_expired`). A caller who makes up a `claim_id` (a
        uuid) before it asks may ask again with it, where no answer came: it gets the claim that it has.

        Raises TalwegError where the database was migrated since it was opened: whoever knows another schema must
        begin nothing.
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
        """Keep what the claim's worker takes of its machine; one of this number that is there already stays."""
        with self._write() as connection:
            monitoring.add_sample(connection, claim, sample)

    def samples(self, cohort_id: str) -> list[SampleRow]:
        """What the cohort's workers took of their machines, oldest first."""
        with self._read() as connection:
            return monitoring.samples_of(connection, cohort_id)

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
            queueing.request_cancel(connection, list(run_ids), study)

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
            queueing.request_pause(connection, list(run_ids), study)

    def unpause(self, run_ids: Iterable[str] = (), *, study: str | None = None) -> list[str]:
        """Let runs that rest go on; the ids of their cohorts, to be published. Raises NotFound."""
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
        """Forget what MLflow was told of these runs, so that the mirror tells it anew; how many. Raises NotFound."""
        with self._write() as connection:
            return runs.mirror_again(connection, list(run_ids), study)

    def signs(self) -> Signs:
        """Signs of trouble, as of now."""
        with self._read() as connection:
            return read_signs(connection)

    def waits(self, run_id: str | None = None, *, study: str | None = None) -> Waits:
        """What the unfinished work of a run, or of a study, waits for; raises NotFound for the study."""
        with self._read() as connection:
            return read_waits(connection, run_id, study)

    def lead(self, role: str, owner: str, seconds: float) -> bool:
        """Whether `owner` is who does the role's work for the next so many seconds; another may be."""
        with self._write() as connection:
            return leases.lead(connection, role, owner, seconds)

    def step_down(self, role: str, owner: str) -> None:
        """Let another lead at once; nothing happens where `owner` does not lead."""
        with self._write() as connection:
            leases.step_down(connection, role, owner)
