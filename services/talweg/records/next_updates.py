"""The update that every optimizer would make at a recorded step."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from talweg.errors import InvalidSpec
from talweg.records.explanation import at_step
from talweg.records.rebuild import cohort_of
from talweg.records.steps import owner, parameters
from talweg.spec import OptimizerSpec, RunSpec, ScheduleSpec
from talweg.store import RunRow, Store
from talweg_core import optimizers
from talweg_core.next_update import NextUpdate, next_update


@dataclass(frozen=True)
class Next:
    """One optimizer's answer; `own`: the run's own, with its settings and its state."""

    answer: NextUpdate
    own: bool


@dataclass(frozen=True)
class NextUpdates:
    """Some answers; `after` is the optimizer after which to go on, None where these were the last."""

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
    """The update that each optimizer would make at `step`, from a state that has seen nothing and by its defaults.

    The first is the run's own, with its real settings, schedule and state, where that state can be recomputed. Of
    `names` only those; else the whole catalogue but what needs all examples in a batch, where the run's has fewer.
    On a new machine each rule is compiled first, so once `seconds` are over the rest is left for another call.

    Raises:
        NoSuchStep: The run has not made that step.
        InvalidSpec: There is no optimizer of one of the names, or it cannot take this batch.
    """
    if after is not None and after not in (names or optimizers.names()):
        raise InvalidSpec(f"after: must be one of the optimizers asked for, got {after[:80]!r}")
    if "" in names:
        raise InvalidSpec("optimizer: must be the name of one, got ''")
    before = parameters(store, run, step)
    holder = owner(store, run, step)
    spec = RunSpec.model_validate(holder.spec)
    until, found = time.monotonic() + seconds, []
    moving = at_step(store, holder, step) if after is None else None
    if moving is not None:
        found.append(Next(next_update(moving), own=True))
    asked = list(names or optimizers.names())
    for position, name in enumerate(asked):
        if after is not None and position <= asked.index(after):
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
        # What a network keeps beside its parameters, such as running means, is not looked at while training.
        cohort.parameters[0], cohort.step = before, step
        found.append(Next(next_update(cohort), own=False))
        if time.monotonic() >= until and name != asked[-1]:
            return NextUpdates(found, name)
    return NextUpdates(found, None)
