"""Explain a recorded step: one derivative, the coordinates that contributed most, every optimizer's next update."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from talweg.errors import InvalidSpec, ReplayDiverged
from talweg.records.from_spec import cohort_of, cohort_of_run, engine_rules
from talweg.records.replay import state_at
from talweg.records.steps import gradient, owner, parameters, records
from talweg.spec import OptimizerSpec, RunSpec, ScheduleSpec
from talweg.store import RunRow, Store
from talweg_core import Cohort, optimizers
from talweg_core import explain as engine
from talweg_core.explain import CoordinateShare, NextUpdate, TensorShare, coordinate_shares, next_update, tensor_shares
from talweg_core.explain import Explanation as Explanation


def explain(
    store: Store, run: RunRow, step: int, tensor: str, index: Sequence[int] = (), *, nudge: float | None = None
) -> Explanation:
    """One coordinate at one step: its derivative, the measured change of the cost under a nudge, and the update made.

    `tensor` is a name as in `run.tensors`, `index` the position of the element in it. Without `nudge`, the largest one
    is used for which the derivative still predicts the change. The optimizer's state of the coordinate is included
    where it can be recomputed.

    Raises:
        InvalidSpec: There is no tensor of that name (the message names the nearest), or the index is outside it.
        NoSuchStep: The run has not made that step.
    """
    before, after = records(store, run, "parameters", step, step + 2)
    holder = owner(store, run, step)
    cohort = cohort_of_run(holder)
    cohort.parameters[0], cohort.step = before, step
    with engine_rules():
        position = cohort.problem.layout.position(tensor, tuple(index))
        update = float(after[position]) - float(before[position])
        explanation = engine.explain(cohort, 0, tensor, tuple(index), update=update, nudge=nudge)
    own = at_step(store, holder, step)
    if own is None:
        return explanation
    rate, state = float(own.learning_rates()[0]), engine.state_at(own, 0, position)
    own.advance()
    return replace(explanation, learning_rate=rate, state=state, state_after=engine.state_at(own, 0, position))


@dataclass(frozen=True)
class StepExplanation:
    """The change of the batch's cost by the update of one step, and each coordinate's share of it, to first order."""

    step: int
    optimizer: str
    cost: float
    cost_after: float
    tensors: list[TensorShare]
    coordinates: list[CoordinateShare]

    @property
    def predicted_change(self) -> float:
        """g · u."""
        return sum(share.predicted_change for share in self.tensors)

    @property
    def sentence(self) -> str:
        """The explanation in one or two English sentences."""
        way = "lowered" if self.cost_after < self.cost else "raised" if self.cost_after > self.cost else "kept"
        change = (
            f"The update of step {self.step} {way} the cost of its batch from {self.cost:.4g} to "
            f"{self.cost_after:.4g}; by the derivatives it is a change of {self.predicted_change:.4g}."
        )
        if not self.predicted_change:
            return change
        shares = ", ".join(
            f"`{share.tensor}` {share.predicted_change / self.predicted_change:.0%}" for share in self.tensors[:3]
        )
        most = self.coordinates[0]
        index = ", ".join(map(str, most.index))
        return (
            f"{change} Of that, {shares}. Most of all came from `{most.tensor}[{index}]`: its derivative was "
            f"{most.derivative:.4g}, and {self.optimizer} moved it by {most.update:.4g}."
        )


def explain_step(store: Store, run: RunRow, step: int, *, count: int = 10) -> StepExplanation:
    """Every tensor and the `count` coordinates with the largest shares at a step; raises NoSuchStep."""
    before, after = records(store, run, "parameters", step, step + 2)
    slope = gradient(store, run, step)
    cohort = cohort_of_run(owner(store, run, step))
    cohort.parameters[0], cohort.step = before, step
    cost, cost_after = float(cohort.costs()[0]), float(cohort.costs(after[None])[0])
    layout, rule = cohort.problem.layout, type(cohort.optimizers[0]).__name__
    # A step that diverged has infinite values.
    with np.errstate(all="ignore"):
        update = after.astype(np.float64) - before
        shares = coordinate_shares(layout, before, slope, update, count)
        return StepExplanation(step, rule, cost, cost_after, tensor_shares(layout, slope, update), shares)


def at_step(store: Store, holder: RunRow, step: int) -> Cohort | None:
    """The run at a step that it recorded itself, with its optimizer's state; None where the state cannot be recomputed.

    Under other numerics the recomputed state differs in its last bits; stored values stay valid.
    """
    cohort = cohort_of_run(holder)
    try:
        payload = state_at(store, holder, step)
    except ReplayDiverged:
        return None
    with engine_rules():
        cohort.restore(0, payload)
    return cohort


@dataclass(frozen=True)
class Next:
    """One optimizer's next update; `own`: it is the run's optimizer, with its settings and its state."""

    answer: NextUpdate
    own: bool


@dataclass(frozen=True)
class NextUpdates:
    """Some next updates; the next call continues after the optimizer `after`, None where these were the last."""

    items: list[Next]
    after: str | None


def next_updates(
    store: Store,
    run: RunRow,
    step: int,
    names: Sequence[str] = (),
    *,
    after: str | None = None,
    seconds: float = float("inf"),
) -> NextUpdates:
    """The update that each optimizer would make at `step`, with its default settings and a fresh state.

    The first is the run's own, with its settings, schedule and state, where that state can be recomputed. With `names`
    only those optimizers follow; else the whole catalogue, without those that need all examples in a batch where the
    run's batch has fewer. On a new machine each rule is compiled first: after `seconds` the rest is left for the next
    call.

    Raises:
        NoSuchStep: The run has not made that step.
        InvalidSpec: There is no optimizer of one of the names, or it cannot use this batch size.
    """
    if after is not None and after not in (names or optimizers.names()):
        raise InvalidSpec(f"after: must be one of the requested optimizers, got {after[:80]!r}")
    if "" in names:
        raise InvalidSpec("optimizer: must be the name of an optimizer, got ''")
    before = parameters(store, run, step)
    holder = owner(store, run, step)
    spec = RunSpec.model_validate(holder.spec)
    until, found = time.monotonic() + seconds, []
    current = at_step(store, holder, step) if after is None else None
    if current is not None:
        found.append(Next(next_update(current), own=True))
    requested = list(names or optimizers.names())
    for position, name in enumerate(requested):
        if after is not None and position <= requested.index(after):
            continue
        chosen = spec.model_copy(
            update={"optimizer": OptimizerSpec(name=name), "schedule": ScheduleSpec(name="constant")}
        )
        try:
            cohort = cohort_of([chosen])
        except InvalidSpec:
            if names:
                raise
            continue
        # A network's other state, such as running means, is not read in training.
        cohort.parameters[0], cohort.step = before, step
        found.append(Next(next_update(cohort), own=False))
        if time.monotonic() >= until and name != requested[-1]:
            return NextUpdates(found, name)
    return NextUpdates(found, None)
