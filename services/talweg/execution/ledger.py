"""Where a claim's segments go: taken apart, and made durable commit by commit."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from talweg.execution.assembly import Assembler
from talweg.execution.segment import Segment
from talweg.store import Asked, Claim, CommitBatch, Progress, RunRow, Store


class Ledger(Protocol):
    """What a writer needs of it. Each call raises what the store raises."""

    def take(self, segment: Segment) -> None:
        """Encode a segment, to be part of the next commit."""

    def commit(self, *, again: bool) -> Mapping[str, Progress]:
        """Make everything taken durable, under the claim's fence: the runs that ended with it.

        Where it raised, it may be called once more, with `again`: then what did arrive is not written twice.
        """

    def asked(self) -> Asked:
        """What was asked of the claim's runs meanwhile."""


class StoreLedger:
    """Writes into a store of this process."""

    def __init__(
        self,
        store: Store,
        claim: Claim,
        runs: Sequence[RunRow],
        *,
        every: int,
        numerics: dict[str, Any],
        lease_seconds: float,
    ) -> None:
        """`runs` by their row in the cohort that trains; `every` is how often a checkpoint is kept."""
        self._store, self._claim, self._lease_seconds = store, claim, lease_seconds
        self._assembler = Assembler(runs, every=every, numerics=numerics)
        # What a commit that raised would have written.
        self._left: CommitBatch | None = None

    def take(self, segment: Segment) -> None:
        """As in Ledger."""
        self._assembler.take(segment)

    def commit(self, *, again: bool) -> Mapping[str, Progress]:
        """As in Ledger."""
        batch = self._left = self._left or self._assembler.batch(self._lease_seconds)
        self._store.commit(self._claim, batch, again=again)
        self._left = None
        return {run_id: progress for run_id, progress in batch.progress.items() if progress.stop_reason is not None}

    def asked(self) -> Asked:
        """As in Ledger."""
        return self._store.asked(self._claim)
