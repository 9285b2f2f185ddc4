"""Routes of a run's record: columns, vectors, evaluations, explanations, next updates, verification, instruments."""

import math
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from talweg.api.bodies import NPY, npy, page
from talweg.api.dependencies import Here, Reference, Step
from talweg.api.models import (
    EvaluationView,
    ExplanationView,
    InstrumentEntry,
    MeasuredView,
    NextUpdatesView,
    RepairView,
    StepExplanationView,
    VerificationView,
    entries,
    explanation_view,
    measured_view,
    next_update_view,
    step_explanation_view,
    verification_view,
    view,
)
from talweg.errors import InvalidSpec, NotFound
from talweg.records import (
    Part,
    batch,
    explain,
    explain_step,
    next_updates,
    norms,
    part_of,
    records,
    repair,
    size_of,
    verify,
)
from talweg.records.instruments.kinds import measure
from talweg.store import RunRow

router = APIRouter(prefix="/v1/runs/{run}", tags=["records"])

# An answer with a part of the vectors reads at most so many times the bytes that it sends: that bounds its time.
READ_FOR_ONE_SENT = 16

Column = Literal["cost", "learning_rate", "gradient_norm", "parameter_norm", "update_norm"]
Stop = Annotated[Step | None, Query(ge=0, lt=2**31, description="As many steps as one answer holds without it.")]
analyses_router = APIRouter(prefix="/v1/runs/{run}", tags=["analyses"])

# Seconds of work for one answer; the client asks for the rest.
SECONDS = 5.0

Count = Annotated[int, Query(ge=1, le=1000)]
OptimizerNames = Annotated[list[str] | None, Query(max_length=200, description="Only these optimizers.")]
After = Annotated[str | None, Query(max_length=200, description="The `after` of the answer before.")]
Sample = Annotated[
    int | None,
    Query(ge=1, lt=2**31, description="How many stretches of steps, drawn at random; all without it."),
]
instruments_router = APIRouter(prefix="/v1", tags=["instruments"])

InstrumentNames = Annotated[list[str] | None, Query(max_length=50, description="Only these; all without it.")]
Stride = Annotated[int, Query(ge=1, lt=2**31, description="Distance between two steps.")]
MeasuredStop = Annotated[Step | None, Query(ge=0, lt=2**31, description="All recorded steps without it.")]


@router.get("/steps/{column}", responses=NPY, response_class=StreamingResponse)
def steps(here: Here, run: Reference, column: Column, start: Step = 0, stop: Stop = None) -> StreamingResponse:
    """One number a step, (n,) float64."""
    row = here.store.run(run)
    first, last = page(start, stop, row.step, row_bytes=8)
    return npy(getattr(here.store.steps(row.id, first, last), column))


@router.get("/records/norms", responses=NPY, response_class=StreamingResponse)
def tensor_norms(here: Here, run: Reference, start: Step = 0, stop: Stop = None) -> StreamingResponse:
    """(n, 3, T) float64: of each step and tensor, the norm of its gradient, parameters and update."""
    row = here.store.run(run)
    first, last = page(start, stop, row.step, row_bytes=24 * len(row.tensors))
    if first == last:
        return npy(np.empty((0, 3, len(row.tensors))))
    return npy(norms(here.store, row, first, last))


@router.get("/records/{quantity}", responses=NPY, response_class=StreamingResponse)
def vectors(
    here: Here,
    run: Reference,
    quantity: Literal["gradient", "parameters"],
    start: Step = 0,
    stop: Stop = None,
    tensor: Annotated[str | None, Query(min_length=1, max_length=200, description="Only this tensor.")] = None,
    index: Annotated[str, Query(max_length=200, description="Where in the tensor: `3,5`, or `:,5` for a part.")] = "",
) -> StreamingResponse:
    """Flat vectors (n, P) in the run's precision, with the engine's bits; or a part of each (n, …)."""
    row = here.store.run(run)
    part = _part(row, tensor, index)
    # Parameters also have the step after the last one. An explicit range past the end is kept, and refused later.
    end = row.step + (quantity == "parameters") if stop is None else max(start, stop)
    width = size_of(row) if part is None else max(math.prod(part.shape), size_of(row) // READ_FOR_ONE_SENT)
    first, last = page(start, stop, max(end, start + 1), row_bytes=width * np.dtype(row.precision).itemsize)
    if part is None:
        return npy(records(here.store, row, quantity, first, last))
    return npy(records(here.store, row, quantity, first, last, part.columns).reshape(last - first, *part.shape))


@router.get("/batch/{what}", responses=NPY, response_class=StreamingResponse)
def examples(
    here: Here, run: Reference, what: Literal["indices", "inputs", "targets"], step: Step
) -> StreamingResponse:
    """The examples behind the gradient of one step: their positions in the training split, inputs or targets."""
    found = getattr(batch(here.store, here.store.run(run), step), what)
    if found is None:
        raise NotFound(f"run {run}: its problem has no examples")
    return npy(found)


@router.get("/evaluations")
def evaluations(
    here: Here,
    run: Reference,
    start: Step = 0,
    limit: Annotated[int, Query(ge=8, le=10_000, description="At most so many; a step is never cut in two.")] = 10_000,
) -> list[EvaluationView]:
    """Evaluations on held-out data, by step; the next page starts at the step after the last one."""
    rows = here.store.evaluations(here.store.run(run).id, start, limit + 1)
    if len(rows) > limit:
        # A step of several splits is not cut in two.
        rows = [row for row in rows if row.step < rows[-1].step]
    return [view(EvaluationView, row) for row in rows]


@router.get("/explain")
def explanation(
    here: Here,
    run: Reference,
    step: Step,
    tensor: Annotated[str, Query(min_length=1, max_length=200)],
    index: Annotated[str, Query(max_length=200, description="Positions, separated by commas.")] = "",
    nudge: Annotated[float | None, Query(allow_inf_nan=False)] = None,
) -> ExplanationView:
    """What the derivative by one coordinate means, and the optimizer's update: in words and in numbers."""
    return explanation_view(explain(here.store, here.store.run(run), step, tensor, _positions(index), nudge=nudge))


def _part(run: RunRow, tensor: str | None, index: str) -> Part | None:
    if tensor is not None:
        return part_of(run, tensor, [None if p.strip() == ":" else _positions(p)[0] for p in _pieces(index)])
    if index:
        raise InvalidSpec(f"index: needs the parameter tensor, got {index[:80]!r} without it")
    return None


def _pieces(index: str) -> list[str]:
    return index.split(",") if index.strip() else []


def _positions(index: str) -> tuple[int, ...]:
    parts = [part.strip() for part in _pieces(index)]
    if not all(part.removeprefix("-").isdecimal() and len(part) < 12 for part in parts):
        raise InvalidSpec(f"index: must be integers separated by commas, got {index[:80]!r}")
    return tuple(int(part) for part in parts)


@analyses_router.get("/contributions")
def contributions(here: Here, run: Reference, step: Step, count: Count = 10) -> StepExplanationView:
    """The tensors and coordinates that changed the cost most at one step, in words and in numbers."""
    return step_explanation_view(explain_step(here.store, here.store.run(run), step, count=count))


@analyses_router.get("/next-updates")
def next_updates_of(
    here: Here, run: Reference, step: Step, optimizer: OptimizerNames = None, after: After = None
) -> NextUpdatesView:
    """The update that each optimizer would make from one recorded state; the run's own comes first."""
    row = here.store.run(run)
    found = next_updates(here.store, row, step, optimizer or (), after=after, seconds=SECONDS)
    return NextUpdatesView(items=[next_update_view(one) for one in found.items], after=found.after)


@analyses_router.get("/verification")
def verification(here: Here, run: Reference, sample: Sample = None, start: Step = 0) -> VerificationView:
    """Recompute the record and compare, for some seconds; `next` of the answer is the step to continue from."""
    return verification_view(verify(here.store, here.store.run(run), sample=sample, start=start, seconds=SECONDS))


@analyses_router.post("/repair")
def repair_record(here: Here, run: Reference) -> list[RepairView]:
    """Recompute damaged and missing parts of the record, and store those that agree with the rest."""
    return [view(RepairView, one) for one in repair(here.store, here.store.run(run))]


@instruments_router.get("/instruments")
def list_instruments() -> list[InstrumentEntry]:
    """Every instrument with its formula."""
    return entries()


@instruments_router.get("/runs/{run}/instruments")
def instruments(
    here: Here,
    run: Reference,
    name: InstrumentNames = None,
    start: Step = 0,
    stop: MeasuredStop = None,
    stride: Stride = 1,
) -> MeasuredView:
    """Instruments at the steps start, start + stride, … before stop; `next` of the answer is the step to continue from.

    One answer computes at least one step, for some seconds and up to a number of values.
    """
    row = here.store.run(run)
    steps = range(start, row.step if stop is None else stop, stride)
    return measured_view(measure(here.store, row, name or (), steps, seconds=SECONDS))
