"""Instruments and what they show, as pydantic models."""

from inspect import cleandoc

from pydantic import BaseModel

from talweg.api.views import Number
from talweg.records.instruments.base import Instrument
from talweg.records.instruments.measuring import INSTRUMENTS, Measured


class InstrumentEntry(BaseModel):
    """One instrument: what it shows, and its formula. `edges`: of a histogram, the bounds between its bins."""

    name: str
    shows: str
    formula: str
    edges: list[float] | None


class MeasuredView(BaseModel):
    """What instruments showed: `columns` of each by its name, and for each of `steps` a row of all of them.

    Attributes:
        next: the step at which to go on, null where this is the last of it.
        left_out: instruments that were not named and have nothing to say of this run, and why.
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
    """As it is answered."""
    return MeasuredView(
        columns=found.columns,
        steps=found.steps,
        rows=found.rows.tolist(),
        next=found.next,
        left_out=found.left_out,
    )


def _entry(made: Instrument) -> InstrumentEntry:
    return InstrumentEntry(
        name=made.name,
        shows=made.says,
        formula=cleandoc(type(made).__doc__ or ""),
        edges=None if made.edges is None else made.edges.tolist(),
    )
