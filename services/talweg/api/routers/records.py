"""What a run recorded, step by step: columns and vectors as `.npy`, evaluations, explanations."""

from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from talweg.api.arrays import NPY, npy, page
from talweg.api.context import Here
from talweg.api.parameters import Reference, Step
from talweg.api.views import EvaluationView, ExplanationView, explanation_view
from talweg.errors import InvalidSpec
from talweg.records import explain, norms, records

router = APIRouter(prefix="/v1/runs/{run}", tags=["records"])

Column = Literal["cost", "learning_rate", "gradient_norm", "parameter_norm", "update_norm"]
Stop = Annotated[Step | None, Query(ge=0, lt=2**31, description="Without it, as many steps as one answer holds.")]


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
    here: Here, run: Reference, quantity: Literal["gradient", "parameters"], start: Step = 0, stop: Stop = None
) -> StreamingResponse:
    """Flat vectors (n, P) in the run's precision, bit for bit as the engine had them."""
    row = here.store.run(run)
    # Parameters also have the step after the last one. A range past the end stays one, and is refused as such.
    end = row.step + (quantity == "parameters") if stop is None else max(start, stop)
    width = sum(int(np.prod(tensor["shape"])) for tensor in row.tensors) * np.dtype(row.precision).itemsize
    first, last = page(start, stop, max(end, start + 1), row_bytes=width)
    return npy(records(here.store, row, quantity, first, last))


@router.get("/evaluations")
def evaluations(here: Here, run: Reference) -> list[EvaluationView]:
    """Every evaluation on held-out data, by step."""
    rows = here.store.evaluations(here.store.run(run).id)
    return [EvaluationView(step=row.step, split=row.split, cost=row.cost, metric=row.metric) for row in rows]


@router.get("/explain")
def explanation(
    here: Here,
    run: Reference,
    step: Step,
    tensor: Annotated[str, Query(min_length=1, max_length=200)],
    index: Annotated[str, Query(max_length=200, description="Positions, separated by commas.")] = "",
    nudge: Annotated[float | None, Query(allow_inf_nan=False)] = None,
) -> ExplanationView:
    """What the derivative by one coordinate means, and what the optimizer answered: in words and as numbers."""
    return explanation_view(explain(here.store, here.store.run(run), step, tensor, _positions(index), nudge=nudge))


def _positions(index: str) -> tuple[int, ...]:
    parts = [part.strip() for part in index.split(",")] if index.strip() else []
    if not all(part.removeprefix("-").isdecimal() and len(part) < 12 for part in parts):
        raise InvalidSpec(f"index: must be integers separated by commas, got {index[:80]!r}")
    return tuple(int(part) for part in parts)
