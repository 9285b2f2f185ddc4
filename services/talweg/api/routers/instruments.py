"""What can be read off any recorded step: which instruments there are, and what they show."""

from typing import Annotated

from fastapi import APIRouter, Query

from talweg.api.context import Here
from talweg.api.instruments import InstrumentEntry, MeasuredView, entries, measured_view
from talweg.api.parameters import Reference, Step
from talweg.api.routers.analyses import SECONDS
from talweg.records.instruments.measuring import measure

router = APIRouter(prefix="/v1", tags=["instruments"])

Names = Annotated[list[str] | None, Query(max_length=50, description="These alone; without it all of them.")]
Stride = Annotated[int, Query(ge=1, lt=2**31, description="From one step to the next.")]
Stop = Annotated[Step | None, Query(ge=0, lt=2**31, description="Without it, up to the last recorded step.")]


@router.get("/instruments")
def list_instruments() -> list[InstrumentEntry]:
    """Every instrument with its formula."""
    return entries()


@router.get("/runs/{run}/instruments")
def instruments(
    here: Here, run: Reference, name: Names = None, start: Step = 0, stop: Stop = None, stride: Stride = 1
) -> MeasuredView:
    """What instruments show at the steps start, start + stride, … before stop; `next` of the answer is where to go on.

    Computed from the record, for some seconds and up to so many numbers; one step at least.
    """
    row = here.store.run(run)
    steps = range(start, row.step if stop is None else stop, stride)
    return measured_view(measure(here.store, row, name or (), steps, seconds=SECONDS))
