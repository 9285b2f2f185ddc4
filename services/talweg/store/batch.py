"""The types that the store takes: new work, and a worker's commit; and the policy of what a run's record stores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from talweg.errors import CorruptRecord
from talweg.store import codec
from talweg.store.rows import Floats, Json, Quantity, RunFields, RunState, StopReason

if TYPE_CHECKING:
    from talweg.spec import Record

Resolved = Literal["full", "replay"]

# `auto` means full up to this many values: gradients and parameters of all steps.
FULL_VALUES = 4_000_000
# Steps in a chunk. No segment crosses a multiple of it, so fast runs have chunks of exactly this size.
CHUNK_STEPS = 64
# Runs of at most this many coordinates also have a row for each derivative, to be read by plain SQL.
ROW_COORDINATES = 32
# Values that a run's kept checkpoints may hold together before they are made less often.
_CHECKPOINT_VALUES = 64_000_000
# Bytes of a step's row, of its norms per tensor, of a derivative's row; and zstd's ratio on gradients and parameters.
STEP_BYTES, _NORM_BYTES, DERIVATIVE_BYTES, _COMPRESSED = 100, 24, 100, 0.8


def resolve(record: "Record", size: int, steps: int) -> Resolved:
    """`auto` becomes full or replay by the number of values: `size` coordinates, `steps` steps."""
    if record != "auto":
        return record
    return "full" if size * steps * 2 <= FULL_VALUES else "replay"


def checkpoint_every(record: Resolved, size: int, steps: int) -> int:
    """K: the checkpoint of every K-th step is kept. A multiple of CHUNK_STEPS; depends on the run alone.

    With `replay`, reading a step recomputes at most K steps. With `full`, reading recomputes nothing, and the
    checkpoints serve forks. A checkpoint counts as three values a coordinate.
    """
    every = 2 * CHUNK_STEPS if record == "replay" else 16 * CHUNK_STEPS
    while 3 * size * (steps // every) > _CHECKPOINT_VALUES:
        every *= 2
    return every


def recorded_bytes(record: Resolved, *, size: int, tensors: int, steps: int, itemsize: int) -> int:
    """Estimated bytes of `steps` steps of a run in the database, of `size` coordinates of `itemsize` bytes each.

    Measured on SQLite with the catalogue's problems: within a fifth, where values compress as in a usual training.
    """
    found = steps * (STEP_BYTES + _NORM_BYTES * tensors)
    # Kept checkpoints, and the last one.
    found += (steps // checkpoint_every(record, size, steps) + 1) * 3 * size * itemsize
    if record == "full":
        found += int(_COMPRESSED * 2 * size * steps * itemsize)
    if size <= ROW_COORDINATES:
        found += steps * size * DERIVATIVE_BYTES
    return found


@dataclass(frozen=True)
class NewStudy:
    """A study to submit; `id` is a uuid7, `name` must be free. An `open` study is extended later."""

    id: str
    name: str
    spec: Json
    open: bool = False


@dataclass(frozen=True)
class NewCohort:
    """A cohort to submit; a study's cohorts have its id."""

    id: str
    study_id: str | None = None


class NewRun(RunFields):
    """A run to submit."""


@dataclass(frozen=True)
class ResumedRun:
    """An ended run that is resumed, from `step` to `steps`; `keep`: its last checkpoint is kept."""

    run_id: str
    step: int
    steps: int
    keep: bool


@dataclass(frozen=True)
class Extension:
    """The next stage of a study.

    Attributes:
        runs, cohorts: What is new.
        resumed: By new cohort, the ended runs that are resumed in it.
        pruned: Ids of the ended runs that are pruned.
        last: Whether this stage is the last.
        runs_seen, steps_seen: The study's runs, and the sum of their steps, that this stage was computed from.
    """

    runs: Sequence[NewRun]
    cohorts: Sequence[NewCohort]
    resumed: Mapping[str, Sequence[ResumedRun]]
    pruned: Sequence[str]
    last: bool
    runs_seen: int
    steps_seen: int


@dataclass(frozen=True, eq=False)
class StepRows:
    """Columns (n,) of a run's steps from `first_step` on; NaN is stored as NULL, and −0 as 0."""

    run_id: str
    first_step: int
    cost: Floats
    learning_rate: Floats
    gradient_norm: Floats
    parameter_norm: Floats
    update_norm: Floats


@dataclass(frozen=True)
class Sample:
    """Load of a worker's process since its last sample: `processor` in percent of one core, `memory` in bytes."""

    number: int
    processor: float
    memory: int


@dataclass(frozen=True)
class Evaluation:
    """Cost and metric of θ_step on a whole split."""

    run_id: str
    step: int
    split: str
    cost: float
    metric: float | None = None


@dataclass(frozen=True, eq=False)
class DerivativeRows:
    """One row for every coordinate of a small run; arrays are (n, P).

    Attributes:
        coordinates: (tensor, position) of each of the P coordinates; position is "3,5", or "" in a scalar.
    """

    run_id: str
    first_step: int
    coordinates: Sequence[tuple[str, str]]
    parameter: NDArray[np.floating]
    derivative: NDArray[np.floating]
    update: NDArray[np.floating]


@dataclass(frozen=True)
class Chunk:
    """Encoded values of one quantity at steps first_step … first_step + steps − 1; `of` encodes, `array` decodes."""

    run_id: str
    quantity: Quantity
    first_step: int
    steps: int
    digest: str
    payload: bytes
    codec: str = codec.NAME

    @classmethod
    def of(cls, run_id: str, quantity: Quantity, first_step: int, values: NDArray[Any]) -> "Chunk":
        """Encode `values` (n, P); slow, so call it outside of a transaction."""
        payload, digest = codec.encode(values)
        return cls(run_id, quantity, first_step, len(values), digest, payload)

    def array(self, dtype: DTypeLike, size: int, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """The values (n, size) of the steps start … stop − 1, as far as they are in this chunk.

        A few steps take less time than all. Raises CorruptRecord, which names run, quantity and steps.
        """
        rows = slice(max(start - self.first_step, 0), None if stop is None else max(stop - self.first_step, 0))
        try:
            if self.codec != codec.NAME:
                raise CorruptRecord(f"codec: must be {codec.NAME}, got {self.codec}")
            return codec.decode(self.payload, self.digest, dtype, (self.steps, size), rows)
        except CorruptRecord as error:
            last = self.first_step + self.steps - 1
            raise CorruptRecord(
                f"run {self.run_id}: {self.quantity} of steps {self.first_step} to {last}: {error}"
            ) from error


@dataclass(frozen=True)
class Checkpoint:
    """All that a run's next steps depend on, before `step`. One that is not `kept` is replaced by the next."""

    run_id: str
    step: int
    payload: bytes
    kept: bool = True


@dataclass(frozen=True)
class Progress:
    """A run's state after a commit; NaN is stored as NULL.

    `stop_reason` is given with a state that ends the run. `numerics` is set once: the first fingerprint stays.
    `trained_seconds` is the time of all steps; None leaves it unchanged.
    """

    step: int
    cost: float | None = None
    best_cost: float | None = None
    state: RunState = "running"
    stop_reason: StopReason | None = None
    numerics: Json | None = None
    trained_seconds: float | None = None


@dataclass(frozen=True)
class CommitBatch:
    """What one commit makes durable, all or nothing; it also extends the lease."""

    lease_seconds: float
    progress: Mapping[str, Progress] = field(default_factory=dict)
    steps: Sequence[StepRows] = ()
    evaluations: Sequence[Evaluation] = ()
    derivatives: Sequence[DerivativeRows] = ()
    chunks: Sequence[Chunk] = ()
    checkpoints: Sequence[Checkpoint] = ()
