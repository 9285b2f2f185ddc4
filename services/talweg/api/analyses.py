"""What is found out from a record when asked for, as pydantic models."""

from typing import Any

from pydantic import BaseModel

from talweg.api.views import Number
from talweg.records import Next, StepExplanation, Verification

# Runs of at most this many coordinates have an optimizer's whole update in the answer, not its size alone.
_WHOLE = 32


class TensorShareView(BaseModel):
    """What one tensor's derivatives and update did to the cost, to first order."""

    tensor: str
    gradient_norm: Number
    update_norm: Number
    predicted_change: Number


class CoordinateShareView(BaseModel):
    """The same of one coordinate."""

    tensor: str
    index: list[int]
    parameter: Number
    derivative: Number
    update: Number
    predicted_change: Number


class StepExplanationView(BaseModel):
    """One step, in words (`text`) and as the numbers that they say; what mattered most comes first."""

    text: str
    step: int
    optimizer: str
    cost: Number
    cost_after: Number
    predicted_change: Number
    tensors: list[TensorShareView]
    coordinates: list[CoordinateShareView]


class NextUpdateView(BaseModel):
    """What one optimizer would do: `own` is the run's own rule with its real state, the others begin anew.

    Attributes:
        angle: between the update and the negative gradient, in degrees.
        update: all of it, where the run has few coordinates.
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
    """What there was time for; `after` asks for the rest, null where this is the last of it."""

    items: list[NextUpdateView]
    after: str | None


class FindingView(BaseModel):
    """One kind of thing that a verification looked at; `broken` says what did not agree."""

    what: str
    agreed: int
    broken: list[str]


class VerificationView(BaseModel):
    """What a verification found from step `start` on; `next` is where to go on, null at the end."""

    run: str
    agrees: bool
    start: int
    next: int | None
    steps: int
    findings: list[FindingView]
    recorded: dict[str, Any] | None
    recomputed: dict[str, Any]


class MendedView(BaseModel):
    """One damaged chunk or checkpoint; `problem` says why it could not be mended, null where it was."""

    what: str
    problem: str | None


def step_explanation_view(told: StepExplanation) -> StepExplanationView:
    """As it is answered."""
    return StepExplanationView(
        text=told.sentence,
        step=told.step,
        optimizer=told.optimizer,
        cost=told.cost,
        cost_after=told.cost_after,
        predicted_change=told.predicted_change,
        tensors=[TensorShareView(**vars(share)) for share in told.tensors],
        coordinates=[CoordinateShareView(**vars(share) | {"index": list(share.index)}) for share in told.coordinates],
    )


def next_update_view(found: Next) -> NextUpdateView:
    """As it is answered."""
    made = found.answer
    return NextUpdateView(
        optimizer=made.optimizer,
        own=found.own,
        learning_rate=made.learning_rate,
        update_norm=made.size,
        angle=made.angle,
        cost=made.cost,
        cost_after=made.cost_after,
        update=made.update.tolist() if len(made.update) <= _WHOLE else None,
    )


def verification_view(found: Verification) -> VerificationView:
    """As it is answered."""
    return VerificationView(
        run=found.run,
        agrees=found.agrees,
        start=found.start,
        next=found.next,
        steps=found.steps,
        findings=[FindingView(**vars(finding)) for finding in found.findings],
        recorded=found.recorded,
        recomputed=found.numerics,
    )
