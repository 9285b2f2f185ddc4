"""Questions to a record: which derivatives mattered, what other optimizers would do, whether it is true."""

from typing import Annotated

from fastapi import APIRouter, Query

from talweg.api.analyses import (
    MendedView,
    NextUpdatesView,
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

# For one answer, before what is left is left for the next one.
SECONDS = 5.0

Count = Annotated[int, Query(ge=1, le=1000)]
Names = Annotated[list[str] | None, Query(max_length=200, description="These optimizers alone.")]
After = Annotated[str | None, Query(max_length=200, description="The `after` of the answer before.")]
Sample = Annotated[int | None, Query(ge=1, lt=2**31, description="So many stretches; without it all of them.")]


@router.get("/contributions")
def contributions(here: Here, run: Reference, step: Step, count: Count = 10) -> StepExplanationView:
    """The tensors and coordinates that mattered most at one step, in words and as numbers."""
    return step_explanation_view(explain_step(here.store, here.store.run(run), step, count=count))


@router.get("/next-updates")
def next_updates_of(
    here: Here, run: Reference, step: Step, optimizer: Names = None, after: After = None
) -> NextUpdatesView:
    """The update that each optimizer would make from one recorded state; the run's own comes first."""
    row = here.store.run(run)
    found = next_updates(here.store, row, step, optimizer or (), after=after, seconds=SECONDS)
    return NextUpdatesView(items=[next_update_view(one) for one in found.items], after=found.after)


@router.get("/verification")
def verification(here: Here, run: Reference, sample: Sample = None, start: Step = 0) -> VerificationView:
    """Recompute the record and compare, for some seconds; `next` of the answer is where to go on."""
    return verification_view(verify(here.store, here.store.run(run), sample=sample, start=start, seconds=SECONDS))


@router.post("/mend")
def mending(here: Here, run: Reference) -> list[MendedView]:
    """Compute what is damaged or gone of the record again, and put back what agrees with what is left of it."""
    return [MendedView(what=one.what, problem=one.problem) for one in mend(here.store, here.store.run(run))]
