"""The API's answers as pydantic models: runs, studies, instruments, explanations, verifications."""

import math
from collections.abc import Callable
from datetime import datetime
from inspect import cleandoc
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, BaseModel

from talweg.mlflow_server import experiment_page, run_page
from talweg.records import Explanation, Next, StepExplanation, Verification
from talweg.records.instruments.base import Instrument
from talweg.records.instruments.kinds import INSTRUMENTS, Measured
from talweg.settings import Settings
from talweg.store import RunRow, StudyRow

# An answer contains an optimizer's whole update if the run has at most so many coordinates.
_WHOLE = 32


def _finite(value: float | None) -> float | None:
    """JSON has no NaN; the arrays keep it, and the stop reason says why."""
    return value if value is not None and math.isfinite(value) else None


Number = Annotated[float | None, AfterValidator(_finite)]


V = TypeVar("V", bound=BaseModel)


def view(kind: type[V], found: object, /, **other: Any) -> V:
    """A `kind` from the fields of the dataclass `found` by their names, and from `other`; it may hold dataclasses."""
    return kind.model_validate(vars(found) | other, from_attributes=True)


class TensorView(BaseModel):
    """One tensor of a problem's parameters; a list of them has the order of the flat vector."""

    name: str
    shape: list[int]


class RunView(BaseModel):
    """One run; `part` is its role in its study: problem and optimizer by position, stage, trial."""

    id: str
    name: str
    study_id: str | None
    # Of a fork: the run whose earlier steps it shares, and its own first step.
    parent_run_id: str | None
    parent_step: int | None
    state: str
    stop_reason: str | None
    paused: bool
    step: int
    steps: int
    cost: Number
    best_cost: Number
    # Its share of the cohort's seconds for gradient and update.
    trained_seconds: float
    problem: str
    optimizer: str
    seed: int
    spec: dict[str, Any]
    tensors: list[TensorView]
    precision: str
    record: str
    numerics: dict[str, Any] | None
    error: str | None
    mlflow_url: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    part: dict[str, Any] | None


class StudyView(BaseModel):
    """One study; `runs` counts its runs, `counts` those in each state, `paused` those that are paused.

    `notes` report what its number of seeds cannot settle.
    """

    id: str
    name: str
    state: str
    spec: dict[str, Any]
    counts: dict[str, int]
    steps_done: int
    steps_total: int
    runs: int
    paused: int
    mlflow_url: str | None
    created_at: datetime
    notes: list[str] = []


class RunPage(BaseModel):
    """A page of runs; `next` is the cursor of the page after it, null on the last."""

    items: list[RunView]
    next: str | None


class StudyPage(BaseModel):
    """A page of studies; `next` is the cursor of the page after it, null on the last."""

    items: list[StudyView]
    next: str | None


class EvaluationView(BaseModel):
    """Cost and metric on one split of held-out data, after `step` updates."""

    step: int
    split: str
    cost: Number
    metric: Number


class ExplanationView(BaseModel):
    """One coordinate at one step, in words (`text`) and in numbers."""

    text: str
    step: int
    tensor: str
    index: list[int]
    optimizer: str
    parameter: Number
    derivative: Number
    update: Number
    cost: Number
    nudge: float
    nudged_cost: Number
    predicted_cost: Number
    # The optimizer's state there; empty if it cannot be recomputed.
    learning_rate: Number
    state: dict[str, Number]
    state_after: dict[str, Number]


class CatalogueEntry(BaseModel):
    """A problem or an optimizer: what it is, and its settings with their defaults (null: must be given)."""

    name: str
    description: str
    settings: dict[str, Any]


class ScheduleEntry(CatalogueEntry):
    """A schedule: the learning rate's factor as a formula of the step, and the settings' ranges in words."""

    formula: str
    details: str
    ranges: dict[str, str]


class OptimizerEntry(ScheduleEntry):
    """An optimizer, as its docstring describes it.

    Attributes:
        state: what a run keeps in addition to its P parameters; `memory` is how many numbers that is.
        evaluations: what one step computes of the problem.
        details: conditions, and each hyperparameter's meaning.
    """

    title: str
    family: str
    state: list[str]
    memory: str
    evaluations: str
    paper: str
    source: str


class BacklogView(BaseModel):
    """How far the mirror is: `waiting` of all `runs` are not completely in MLflow.

    Attributes:
        seconds_left: at the pace of the last minute; null where no run got there in it.
    """

    runs: int
    waiting: int
    seconds_left: float | None


class Status(BaseModel):
    """The state of the laboratory.

    Attributes:
        queue_depth: messages that wait for a worker; null if the broker does not answer.
        cohorts: how many are in each state; a worker trains each leased one.
        facts: the versions that made and last changed the database.
    """

    version: str
    queue_depth: int | None
    cohorts: dict[str, int]
    workers_busy: int
    mlflow_url: str | None
    mirror: BacklogView
    facts: dict[str, str]
    numerics: dict[str, Any]


def run_view(row: RunRow, settings: Settings) -> RunView:
    """The view of a run's row."""
    url = _link(settings, run_page, row.mlflow_run_id)
    return view(RunView, row, steps=row.total_steps, paused=row.paused and not row.ended, mlflow_url=url)


def study_view(row: StudyRow, settings: Settings) -> StudyView:
    """The view of a study's row."""
    url = _link(settings, experiment_page, row.mlflow_experiment_id)
    return view(StudyView, row, state=row.state, runs=row.runs, mlflow_url=url)


def explanation_view(found: Explanation) -> ExplanationView:
    """The view of one coordinate's explanation."""
    return view(ExplanationView, found, text=found.sentence, predicted_cost=found.predicted_cost)


def mlflow_url(settings: Settings) -> str | None:
    """MLflow's address for browsers, without the name and password that services may connect with."""
    url = settings.mlflow_public_url or settings.mlflow_url
    if url is None or "@" not in url:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _link(settings: Settings, page: Callable[[str, str], str], id_: str | None) -> str | None:
    base = mlflow_url(settings)
    return None if base is None or id_ is None else page(base, id_)


class InstrumentEntry(BaseModel):
    """One instrument: what it shows, and its formula. `edges`: of a histogram, the bounds between its bins."""

    name: str
    shows: str
    formula: str
    edges: list[float] | None


class MeasuredView(BaseModel):
    """Instruments at some steps: the `columns` of each by its name, and for each of `steps` a row of all columns.

    Attributes:
        next: the step to continue from, null at the end.
        left_out: instruments that were not named and do not apply to this run, with the reason.
    """

    columns: dict[str, list[str]]
    steps: list[int]
    rows: list[list[Number]]
    next: int | None
    left_out: dict[str, str]


def entries() -> list[InstrumentEntry]:
    """Every instrument."""
    return [_entry(made) for made in INSTRUMENTS.values()]


def measured_view(found: Measured) -> MeasuredView:
    """The view of what instruments measured."""
    return view(MeasuredView, found, rows=found.rows.tolist())


def _entry(made: Instrument) -> InstrumentEntry:
    return InstrumentEntry(
        name=made.name,
        shows=made.says,
        formula=cleandoc(type(made).__doc__ or ""),
        edges=None if made.edges is None else made.edges.tolist(),
    )


class TensorShareView(BaseModel):
    """How much one tensor's update changed the cost, to first order."""

    tensor: str
    gradient_norm: Number
    update_norm: Number
    predicted_change: Number


class CoordinateShareView(BaseModel):
    """How much one coordinate's update changed the cost, to first order."""

    tensor: str
    index: list[int]
    parameter: Number
    derivative: Number
    update: Number
    predicted_change: Number


class StepExplanationView(BaseModel):
    """One step, in words (`text`) and in numbers; the largest changes come first."""

    text: str
    step: int
    optimizer: str
    cost: Number
    cost_after: Number
    predicted_change: Number
    tensors: list[TensorShareView]
    coordinates: list[CoordinateShareView]


class NextUpdateView(BaseModel):
    """One optimizer's next update. `own`: the run's own optimizer with its state; the others have a fresh state.

    Attributes:
        angle: between the update and the negative gradient, in degrees.
        update: its coordinates; null if the run has too many.
    """

    optimizer: str
    own: bool
    learning_rate: Number
    update_norm: Number
    angle: Number
    cost: Number
    cost_after: Number
    update: list[Number] | None


class NextUpdatesView(BaseModel):
    """As many next updates as there was time for; pass `after` to get the rest, null at the end."""

    items: list[NextUpdateView]
    after: str | None


class FindingView(BaseModel):
    """One kind of value that a verification compared; `broken` lists what did not agree."""

    what: str
    agreed: int
    broken: list[str]


class VerificationView(BaseModel):
    """The result of a verification from step `start` on; `next` is the step to continue from, null at the end."""

    run: str
    agrees: bool
    start: int
    next: int | None
    steps: int
    findings: list[FindingView]
    recorded: dict[str, Any] | None
    recomputed: dict[str, Any]


class RepairView(BaseModel):
    """One damaged chunk or checkpoint; `problem` says why it could not be repaired, null if it was."""

    what: str
    problem: str | None


def step_explanation_view(found: StepExplanation) -> StepExplanationView:
    """The view of a step's explanation."""
    return view(StepExplanationView, found, text=found.sentence, predicted_change=found.predicted_change)


def next_update_view(found: Next) -> NextUpdateView:
    """The view of one optimizer's next update."""
    update = found.answer.update.tolist() if len(found.answer.update) <= _WHOLE else None
    return view(NextUpdateView, found.answer, own=found.own, update_norm=found.answer.size, update=update)


def verification_view(found: Verification) -> VerificationView:
    """The view of a verification."""
    return view(VerificationView, found, agrees=found.agrees, recomputed=found.numerics)
