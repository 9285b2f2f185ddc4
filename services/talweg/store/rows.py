"""The types that the store returns: frozen rows, with times in UTC."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from talweg.store.batch import Chunk

Json = dict[str, Any]
Floats = NDArray[np.float64]

RunState = Literal["queued", "running", "finished", "failed", "cancelled"]
CohortState = Literal["queued", "leased", "finished", "quarantined"]
StopReason = Literal["finished", "diverged", "cancelled", "failed", "target", "pruned", "time"]
# "evaluations": how many each step made, where an optimizer needs more than one gradient. "seconds": a step's time.
Quantity = Literal["gradient", "parameters", "norms", "evaluations", "seconds"]

RUN_STATES: tuple[RunState, ...] = ("queued", "running", "finished", "failed", "cancelled")
LIVE: tuple[RunState, ...] = ("queued", "running")


@dataclass(frozen=True, kw_only=True)
class RunFields:
    """The fields that a run has from its submission on.

    Attributes:
        row: Its index in its cohort.
        spec: Its spec with every default filled in.
        record: The resolved policy, "full" or "replay".
        tensors: `[{"name": …, "shape": […]}, …]`, the layout of its parameters.
        step: Updates made so far; steps 0 … step − 1 are recorded. A fork starts at the step where it was forked.
        cost: Of the last recorded step; None before the first, and where it is not a number.
        part: Its problem, optimizer, stage and trial in its study (`talweg.spec.Planned.part`); None outside of a
            study, and in studies older than the column.
    """

    id: str
    name: str
    cohort_id: str
    row: int
    spec: Json
    spec_digest: str
    problem: str
    optimizer: str
    seed: int
    total_steps: int
    precision: str
    record: Literal["full", "replay"]
    tensors: list[Json]
    study_id: str | None = None
    parent_run_id: str | None = None
    parent_step: int | None = None
    step: int = 0
    cost: float | None = None
    best_cost: float | None = None
    part: Json | None = None


@dataclass(frozen=True, kw_only=True)
class RunRow(RunFields):
    """A run and its present state.

    Attributes:
        paused: It is paused, or will be at its worker's next commit, until it is unpaused.
        error: The worker's last error, where the run failed.
        mirrored_step: Steps 0 … mirrored_step − 1 are in MLflow; `mirrored_state` is the last state sent there.
        trained_seconds: Time of its recorded steps, its share of its cohort's: gradient and update, nothing else.
    """

    state: RunState
    stop_reason: StopReason | None
    cancel_requested: bool
    paused: bool
    numerics: Json | None
    error: str | None
    mlflow_run_id: str | None
    mirrored_step: int
    mirrored_state: RunState | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    trained_seconds: float = 0.0

    @property
    def ended(self) -> bool:
        """Whether it is finished, failed or cancelled."""
        return self.state not in LIVE


@dataclass(frozen=True)
class StudyRow:
    """A study and the progress of its runs.

    `counts` is the number of runs by state, `paused` the number of paused runs; `open` means that more runs follow.
    """

    id: str
    name: str
    spec: Json
    mlflow_experiment_id: str | None
    mlflow_told: bool
    created_at: datetime
    counts: dict[RunState, int]
    steps_done: int
    steps_total: int
    paused: int
    open: bool = False

    @property
    def runs(self) -> int:
        """The number of its runs."""
        return sum(self.counts.values())

    @property
    def state(self) -> RunState:
        """Queued until a run starts, running until all have ended; then failed, cancelled or finished: the worst."""
        if self.counts.get("running"):
            return "running"
        if self.counts.get("queued"):
            return "queued" if self.counts["queued"] == self.runs else "running"
        if self.open:
            return "running"
        return "failed" if self.counts.get("failed") else "cancelled" if self.counts.get("cancelled") else "finished"


@dataclass(frozen=True)
class CohortRow:
    """A cohort: its owner and lease, and its `attempts` since it last made progress."""

    id: str
    study_id: str | None
    state: CohortState
    fence: int
    owner: str | None
    owner_since: datetime | None
    lease_until: datetime | None
    attempts: int
    error: str | None
    queued_at: datetime
    published_at: datetime | None
    publications: int
    paused: bool
    claim_id: str | None = None


@dataclass(frozen=True)
class Claim:
    """The right to write a cohort's records, as long as no newer fence exists; `runs` are ordered by their row."""

    cohort_id: str
    fence: int
    runs: tuple[RunRow, ...]
    attempts: int


@dataclass(frozen=True)
class Requests:
    """Requests for a claim's live runs: the ids of those to cancel, and whether any is to be paused."""

    cancelled: frozenset[str]
    pause: bool


@dataclass(frozen=True)
class TokenRow:
    """A token's name and scopes. The token itself is not stored; `digest` is its sha256.

    Attributes:
        limits: Its quota by the keys of `Limits`, where that differs from the settings' limits.
    """

    digest: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    limits: Json | None = None


@dataclass(frozen=True)
class Limits:
    """One token's quota; None where there is no limit.

    Attributes:
        runs: Runs that are queued or running.
        steps: Steps that these runs still have to make.
        bytes: Size of its datasets, unpacked.
    """

    runs: int | None = None
    steps: int | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class DatasetRow:
    """An uploaded dataset without its bytes; `shape` is `{"inputs": […], "targets": […], …}`.

    Attributes:
        digest: sha256 of the unpacked payload, which has `size` bytes.
        name, version: Under which it was found; a dataset may have several names, and a name several versions.
    """

    digest: str
    name: str
    kind: str
    shape: Json
    size: int
    created_at: datetime
    version: int = 1


@dataclass(frozen=True)
class Meter:
    """Totals of the laboratory; times in seconds.

    Attributes:
        runs, cohorts: Their number by state.
        steps: Steps that all runs have made together.
        unmirrored: Runs that MLflow does not have completely.
        mirror_lag: Since the mirror last read the run that has waited longest.
        counters: Counters that are never reset, by name.
    """

    runs: dict[str, int]
    cohorts: dict[str, int]
    steps: int
    unmirrored: int
    unmirrored_steps: int
    mirror_lag: float
    counters: dict[str, int]


@dataclass(frozen=True)
class Submitted:
    """The ids of a submission; `repeated` where an earlier submission with the same key created them."""

    study_id: str | None
    run_ids: tuple[str, ...]
    cohort_ids: tuple[str, ...]
    repeated: bool = False


@dataclass(frozen=True, eq=False)
class StepTable:
    """Columns (n,) of consecutive recorded steps; NaN where the database has NULL."""

    step: NDArray[np.int64]
    cost: Floats
    learning_rate: Floats
    gradient_norm: Floats
    parameter_norm: Floats
    update_norm: Floats

    def __len__(self) -> int:
        """The number of steps."""
        return len(self.step)


@dataclass(frozen=True, eq=False)
class ReplayBasis:
    """What a run is recomputed from and compared with, read in one transaction.

    Attributes:
        checkpoint: The last one at or before the first step to recompute; None before the first checkpoint.
        costs: (n,) of the steps from that checkpoint, or from step 0, to the end.
        digests: Of the checkpoints after that one, by step.
    """

    checkpoint: bytes | None
    costs: Floats
    digests: dict[int, str]


@dataclass(frozen=True, eq=False)
class LatestValues:
    """What the last recorded step of each of several runs holds, by the run's id; a run without own steps is left out.

    Attributes:
        steps: (step, cost, learning rate); NaN where the database has NULL.
        norms: The last chunk of its norms.
        derivatives: A row for each of its coordinates, where it has at most 32.
        evaluations: The last one on each split.
        samples: The last sample of its cohort's worker.
        counted: The runs that store how many evaluations each step made; the others made one gradient a step.
    """

    steps: "dict[str, tuple[int, float, float]]"
    norms: "dict[str, Chunk]"
    derivatives: "dict[str, list[DerivativeRow]]"
    evaluations: "dict[str, list[EvaluationRow]]"
    samples: "dict[str, SampleRow]"
    counted: frozenset[str]


@dataclass(frozen=True)
class EvaluationRow:
    """Cost and metric of θ_step on a whole split; None where the number was NaN."""

    step: int
    split: str
    cost: float | None
    metric: float | None


@dataclass(frozen=True)
class SampleRow:
    """Load of a cohort's worker: `processor` in percent of one core, `memory` in bytes."""

    taken_at: datetime
    processor: float
    memory: int


@dataclass(frozen=True)
class DerivativeRow:
    """One coordinate at one step; `position` is its index in the tensor, "3,5"."""

    step: int
    tensor: str
    position: str
    parameter: float | None
    derivative: float | None
    update: float | None


T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """Items, newest first; `cursor` requests the next page and is None on the last."""

    items: list[T]
    cursor: str | None
