"""The first checkpoint of a fork: its parent's parameters, and the optimizer's state, carried over or fresh."""

from dataclasses import dataclass
from typing import Literal

from talweg.errors import InvalidSpec
from talweg.records.from_spec import cohort_of, engine_rules, optimizer_of
from talweg.records.replay import state_at
from talweg.records.steps import owner, parameters
from talweg.spec import RunSpec
from talweg.store import RunRow, Store
from talweg_core.cohort import checkpoint_fits, fresh_checkpoint, keeps_state, parameters_of, same_rule


@dataclass(frozen=True)
class ForkStart:
    """A checkpoint, and whether the optimizer's state in it is the parent's."""

    payload: bytes
    carried: bool


def fork_start(
    store: Store, parent: RunRow, spec: RunSpec, step: int, *, state: Literal["carried", "fresh"] | None
) -> ForkStart:
    """The checkpoint at `step` from which a run with this spec continues; `step` must be recorded in the parent.

    Without `state` it is carried where the rule is the same: the same optimizer with the same options and wrappers;
    numeric hyperparameters may differ. Raises InvalidSpec where the state must be carried and cannot, ReplayDiverged or
    CorruptRecord where the parent's state can neither be read nor recomputed.
    """
    cohort = cohort_of([spec])
    # At a step that the parent shares with an ancestor, the state belongs to the ancestor's rule.
    holder = owner(store, parent, step)
    before = optimizer_of(RunSpec.model_validate(holder.spec).optimizer)
    same = same_rule(before, cohort.optimizers[0])
    if state == "carried" and not same:
        raise InvalidSpec(
            f"state: can be carried to the same rule only, got {cohort.optimizers[0].name} after {before.name}"
        )
    wanted = same and state != "fresh"
    # Stored parameters are exact on any machine, so recompute only where more than parameters is needed.
    if not wanted and holder.record == "full" and step < holder.step and not keeps_state(cohort):
        return ForkStart(fresh_checkpoint(cohort, step, parameters(store, parent, step)), carried=False)
    payload = state_at(store, holder, step)
    with engine_rules():
        if wanted and checkpoint_fits(cohort, payload):
            return ForkStart(payload, carried=True)
        if state == "carried":
            raise InvalidSpec(
                "state: has another shape under these settings, so it cannot be carried; 'fresh' is possible"
            )
        return ForkStart(fresh_checkpoint(cohort, step, *parameters_of(payload)), carried=False)
