"""What the store takes in: new work, what a worker did since its last commit, and what of a run is stored."""

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

# `auto` stores everything up to this many values: gradients and parameters of all steps.
FULL_VALUES = 4_000_000
# Steps in a chunk. Segments never cross a multiple of it, so quick runs have chunks of exactly this size.
CHUNK_STEPS = 64
# Runs of at most this many coordinates also have a row for each derivative, for plain SQL.
ROW_COORDINATES = 32
# The values that a run's kept checkpoints may hold together before they are taken less often.
_CHECKPOINT_VALUES = 64_000_000
# Bytes: a step's row; its norms, a tensor; the row of a derivative. And what zstd leaves of gradients and parameters.
_STEP_BYTES, _NORM_BYTES, _DERIVATIVE_BYTES, _COMPRESSED = 100, 24, 100, 0.8


def resolve(record: "Record", size: int, steps: int) -> Resolved:
    """`auto` by how much there is: `size` coordinates, `steps` steps."""
    if record != "auto":
        return record
    return "full" if size * steps * 2 <= FULL_VALUES else "replay"


def checkpoint_every(record: Resolved, size: int, steps: int) -> int:
    """K: every K-th step's checkpoint is kept. A multiple of CHUNK_STEPS, and a function of the run alone.

    Under `replay`, reading a step recomputes at most K steps. Under `full` nothing is recomputed to be read;
    the checkpoints are there to fork from. A checkpoint is reckoned as three values a coordinate.
    """
    every = 2 * CHUNK_STEPS if record == "replay" else 16 * CHUNK_STEPS
    while 3 * size * (steps // every) > _CHECKPOINT_VALUES:
        every *= 2
    return every


def recorded_bytes(record: Resolved, *, size: int, tensors: int, steps: int, itemsize: int) -> int:
    """About what `steps` steps of a run take in the database, of `size` coordinates of `itemsize` bytes each.

    Measured on SQLite with the catalogue's problems: within a fifth, for what compresses as training usually does.
    """
    found = steps * (_STEP_BYTES + _NORM_BYTES * tensors)
    # Checkpoints that stay, and the last one.
    found += (steps // checkpoint_every(record, size, steps) + 1) * 3 * size * itemsize
    if record == "full":
        found += int(_COMPRESSED * 2 * size * steps * itemsize)
    if size <= ROW_COORDINATES:
        found += steps * size * _DERIVATIVE_BYTES
    return found


@dataclass(frozen=True)
class NewStudy:
    """A study to be; `id` is a uuid7, `name` must not be taken. One that is `open` is extended later."""

    id: str
    name: str
    spec: Json
    open: bool = False


@dataclass(frozen=True)
class NewCohort:
    """A cohort to be; a study's cohorts carry its id."""

    id: str
    study_id: str | None = None


class NewRun(RunFields):
    """A run to be submitted."""


@dataclass(frozen=True)
class Going:
    """An ended run that goes on, from `step` to `steps`; `keep`: its last checkpoint is one that stays."""

    run_id: str
    step: int
    steps: int
    keep: bool


@dataclass(frozen=True)
class Extension:
    """How a study goes on.

    Attributes:
        runs, cohorts: what is new.
        going: by new cohort, the ended runs that go on in it.
        pruned: ids of ended runs that will not.
        last: whether nothing follows.
        runs_seen, steps_seen: how many runs, and steps that these were to make, this was concluded from.
    """

    runs: Sequence[NewRun]
    cohorts: Sequence[NewCohort]
    going: Mapping[str, Sequence[Going]]
    pruned: Sequence[str]
    last: bool
    runs_seen: int
    steps_seen: int


@dataclass(frozen=True, eq=False)
class StepRows:
    """Columns (n,) of a run's steps from `first_step` on; NaN becomes NULL, and −0 becomes 0."""

    run_id: str
    first_step: int
    cost: Floats
    learning_rate: Floats
    gradient_norm: Floats
    parameter_norm: Floats
    update_norm: Floats


@dataclass(frozen=True)
class Sample:
    """What a worker's process took since its last sample: `processor` in percent of one core, `memory` in bytes."""

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
    """Every coordinate of a small run, as rows; arrays are (n, P).

    Attributes:
        coordinates: (tensor, position) of each of the P coordinates; position "3,5", "" in a scalar.
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
        """`values` (n, P) encoded; takes its time outside of any transaction."""
        payload, digest = codec.encode(values)
        return cls(run_id, quantity, first_step, len(values), digest, payload)

    def array(self, dtype: DTypeLike, size: int, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """The values (n, size) of those of the steps start … stop − 1 that are in this chunk.

        Few steps take less time than all. Raises CorruptRecord that names run, quantity and steps.
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
    """All that a run's future depends on, before `step`. One that is not `kept` gives way to the next."""

    run_id: str
    step: int
    payload: bytes
    kept: bool = True


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a commit; NaN becomes None.

    `stop_reason` belongs to a state that ends it. `numerics` is set once: the first fingerprint stays. What the steps
    took in all, `trained_seconds`, stays as it was where it is None.
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
    """Everything that one commit makes durable, or nothing of it; it also extends the lease."""

    lease_seconds: float
    progress: Mapping[str, Progress] = field(default_factory=dict)
    steps: Sequence[StepRows] = ()
    evaluations: Sequence[Evaluation] = ()
    derivatives: Sequence[DerivativeRows] = ()
    chunks: Sequence[Chunk] = ()
    checkpoints: Sequence[Checkpoint] = ()
