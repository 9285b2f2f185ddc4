"""What the API answers, as pydantic models: the store's rows without what is its own business."""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, BaseModel

from talweg.mlflow_server import experiment_page, run_page
from talweg.records import Explanation
from talweg.settings import Settings
from talweg.store import RunRow, StudyRow


def _finite(value: float | None) -> float | None:
    """JSON has no NaN; the arrays keep it, and the stop reason says why."""
    return value if value is not None and math.isfinite(value) else None


Number = Annotated[float | None, AfterValidator(_finite)]


class TensorView(BaseModel):
    """One tensor of a problem's parameters, in the order in which they lie in a flat vector."""

    name: str
    shape: list[int]


class RunView(BaseModel):
    """One run as it stands; `part` is what it is in its study: problem and optimizer by position, stage, trial."""

    id: str
    name: str
    study_id: str | None
    # Of a fork: whose steps it shares, and from which one on its own begin.
    parent_run_id: str | None
    parent_step: int | None
    state: str
    stop_reason: str | None
    paused: bool
    step: int
    steps: int
    cost: Number
    best_cost: Number
    # Of gradient and update, its share of its cohort's.
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
    """One study as it stands; its `runs` are counted, by state in `counts`, and those that rest in `paused`."""

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
    """One coordinate at one step, in words (`text`) and as the numbers that they say."""

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
    # What the optimizer had there; empty where it cannot be recomputed.
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
    """An optimizer, as its docstring has it.

    Attributes:
        state: what a run keeps beside its P parameters; `memory` is how many numbers that is.
        evaluations: what one step asks of the problem.
        details: conditions, and each hyperparameter's meaning.
    """

    title: str
    family: str
    state: list[str]
    memory: str
    evaluations: str
    paper: str
    source: str


class Status(BaseModel):
    """How the laboratory stands.

    Attributes:
        queue_depth: messages that wait for a worker; null where the broker does not answer.
        cohorts: how many stand in each state; one that is leased has a worker at work on it.
        facts: the versions that made and last changed the database.
    """

    version: str
    queue_depth: int | None
    cohorts: dict[str, int]
    workers_busy: int
    mlflow_url: str | None
    facts: dict[str, str]
    numerics: dict[str, Any]


def run_view(row: RunRow, settings: Settings) -> RunView:
    """A run's row as it is answered."""
    return RunView(
        id=row.id,
        name=row.name,
        study_id=row.study_id,
        parent_run_id=row.parent_run_id,
        parent_step=row.parent_step,
        state=row.state,
        stop_reason=row.stop_reason,
        paused=row.paused and not row.ended,
        step=row.step,
        steps=row.total_steps,
        cost=row.cost,
        best_cost=row.best_cost,
        trained_seconds=row.trained_seconds,
        problem=row.problem,
        optimizer=row.optimizer,
        seed=row.seed,
        spec=row.spec,
        tensors=[TensorView.model_validate(tensor) for tensor in row.tensors],
        precision=row.precision,
        record=row.record,
        numerics=row.numerics,
        error=row.error,
        mlflow_url=_link(settings, run_page, row.mlflow_run_id),
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        part=row.part,
    )


def study_view(row: StudyRow, settings: Settings) -> StudyView:
    """A study's row as it is answered."""
    return StudyView(
        id=row.id,
        name=row.name,
        state=row.state,
        spec=row.spec,
        counts={str(state): count for state, count in row.counts.items()},
        steps_done=row.steps_done,
        steps_total=row.steps_total,
        runs=row.runs,
        paused=row.paused,
        mlflow_url=_link(settings, experiment_page, row.mlflow_experiment_id),
        created_at=row.created_at,
    )


def explanation_view(explanation: Explanation) -> ExplanationView:
    """An explanation as it is answered."""
    return ExplanationView(
        text=explanation.sentence,
        step=explanation.step,
        tensor=explanation.tensor,
        index=list(explanation.index),
        optimizer=explanation.optimizer,
        parameter=explanation.parameter,
        derivative=explanation.derivative,
        update=explanation.update,
        cost=explanation.cost,
        nudge=explanation.nudge,
        nudged_cost=explanation.nudged_cost,
        predicted_cost=explanation.predicted_cost,
        learning_rate=explanation.learning_rate,
        state=explanation.state,
        state_after=explanation.state_after,
    )


def mlflow_url(settings: Settings) -> str | None:
    """Where people open MLflow, without the name and password that services may connect with."""
    url = settings.mlflow_public_url or settings.mlflow_url
    if url is None or "@" not in url:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _link(settings: Settings, page: Callable[[str, str], str], id_: str | None) -> str | None:
    base = mlflow_url(settings)
    return None if base is None or id_ is None else page(base, id_)
