"""Questions to a record: which derivatives mattered, what other optimizers would do, whether it is true."""

from typing import Annotated

from fastapi import APIRouter, Query

from talweg.api.analyses import (
    MendedView,
    NextUpdateView,
    StepExplanationView,
    VerificationView,
    next_update_view,
    step_explanation_view,
    verification_view,
)
from talweg.api.context import Here
from talweg.api.parameters import Reference, Step
from talweg.records import explain_step, mend, next_updates, verify

router = APIRouter(prefix="/v1/runs/{run}", tags=["analyses"])

Count = Annotated[int, Query(ge=1, le=1000)]
Names = Annotated[list[str] | None, Query(max_length=200, description="These optimizers alone.")]
Sample = Annotated[int | None, Query(ge=1, lt=2**31, description="So many stretches; without it all of them.")]


@router.get("/contributions")
def contributions(here: Here, run: Reference, step: Step, count: Count = 10) -> StepExplanationView:
    """The tensors and coordinates that mattered most at one step, in words and as numbers."""
    return step_explanation_view(explain_step(here.store, here.store.run(run), step, count=count))


@router.get("/next-updates")
def prospects(here: Here, run: Reference, step: Step, optimizer: Names = None) -> list[NextUpdateView]:
    """The update that each optimizer would make from one recorded state; the run's own comes first."""
    found = next_updates(here.store, here.store.run(run), step, optimizer or ())
    return [next_update_view(one) for one in found]


@router.get("/verification")
def verification(here: Here, run: Reference, sample: Sample = None, start: Step = 0) -> VerificationView:
    """Recompute the record and compare, for some seconds; `next` of the answer is where to go on."""
    return verification_view(verify(here.store, here.store.run(run), sample=sample, start=start))


@router.post("/mend")
def mending(here: Here, run: Reference) -> list[MendedView]:
    """Compute damaged chunks of the record again, and put back those that agree with what is left of it."""
    return [MendedView(what=one.what, problem=one.problem) for one in mend(here.store, here.store.run(run))]
