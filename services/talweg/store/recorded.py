"""The part of the store that runs recorded."""

from collections.abc import Sequence

from talweg.store import (
    reading,
    resuming,
)
from talweg.store.batch import Chunk
from talweg.store.database import Database
from talweg.store.rows import (
    ChunkRow,
    DerivativeRow,
    EvaluationRow,
    Quantity,
    Retracing,
    StepTable,
)


class Recorded(Database):
    """Steps, evaluations, chunks and checkpoints; each method is one transaction."""

    def latest_checkpoints(self, run_ids: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """By run, the last checkpoint's step and payload; runs without one are left out. Raises CorruptRecord."""
        with self._read() as connection:
            return reading.latest_checkpoints(connection, run_ids)

    def checkpoint_before(self, run_id: str, step: int) -> tuple[int, bytes] | None:
        """The run's last checkpoint at or before `step`; raises CorruptRecord."""
        with self._read() as connection:
            return reading.checkpoint_before(connection, run_id, step)

    def retracing(self, run_id: str, start: int, end: int) -> Retracing:
        """What the steps up to `end` are recomputed from and compared with; raises CorruptRecord."""
        with self._read() as connection:
            return reading.retracing(connection, run_id, start, end)

    def steps(self, run_id: str, start: int = 0, stop: int | None = None) -> StepTable:
        """The recorded ones of the steps start … stop − 1, as columns."""
        with self._read() as connection:
            return reading.steps(connection, run_id, start, stop)

    def evaluations(self, run_id: str, start: int = 0, limit: int | None = None) -> list[EvaluationRow]:
        """Every evaluation from step `start` on, by step, then split; at most `limit` of them."""
        with self._read() as connection:
            return reading.evaluations(connection, run_id, start, limit)

    def derivatives(self, run_id: str, start: int = 0, stop: int | None = None) -> list[DerivativeRow]:
        """Rows of the steps start … stop − 1, by step; empty for runs of more than 32 coordinates."""
        with self._read() as connection:
            return reading.derivatives(connection, run_id, start, stop)

    def chunks(self, run_id: str, quantity: Quantity, start: int, stop: int) -> list[ChunkRow]:
        """The chunks that hold any of the steps start … stop − 1, in order; `ChunkRow.array` checks the digest."""
        with self._read() as connection:
            return reading.chunks(connection, run_id, quantity, start, stop)

    def chunk_bounds(self, run_id: str, quantity: Quantity, start: int, stop: int) -> list[tuple[int, int]]:
        """First step and end of the chunks that hold the steps, and of the two beside them, in order."""
        with self._read() as connection:
            return reading.chunk_bounds(connection, run_id, quantity, start, stop)

    def replace_chunk(self, chunk: Chunk) -> None:
        """Put these bytes in place of a chunk of the same steps, or where it is gone; raises Conflict."""
        with self._write() as connection:
            resuming.replace_chunk(connection, chunk)

    def replace_checkpoint(self, run_id: str, step: int, payload: bytes) -> None:
        """Put these bytes in place of a damaged checkpoint whose digest they have; raises NotFound."""
        with self._write() as connection:
            resuming.replace_checkpoint(connection, run_id, step, payload)
