"""Fork runs, and resume ended ones: runs that go on from what others recorded.

A fork is a run of its own. Its row holds the steps from where it left its parent; those before are read through the
parent's. It is written with the checkpoint that it begins from, so a worker takes it up as it takes up any run that
was interrupted there.
"""

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
from uuid_utils.compat import uuid7

from talweg import queue
from talweg.errors import Conflict, InvalidSpec, NoSuchStep
from talweg.execution.planning import require_room
from talweg.execution.submission import Publish, equal_run, made_up_name, new_run, publish_all, write
from talweg.records import fork_start, normalise, size_of
from talweg.spec import ForkSpec, RunSpec
from talweg.store import LIVE, Checkpoint, NewCohort, RunRow, Store
from talweg.store.batch import checkpoint_every


def fork_run(
    store: Store,
    parent: RunRow,
    spec: ForkSpec,
    *,
    idempotency_key: str | None = None,
    publish: Publish = queue.publish,
) -> RunRow:
    """Write a run that shares the parent's steps before `spec.step`, and publish its cohort.

    Batches and the schedule go by the step, counted from the start of the history. The optimizer's state is carried
    where the rule is the same, else it begins anew.

    Raises:
        NoSuchStep: The parent has not recorded the steps before it (yet).
        InvalidSpec: The parent diverged there, or something that the engine refuses; nothing was written.
        Conflict: The name or the key stands for something else.
        ReplayDiverged, CorruptRecord: The state there can neither be read nor recomputed.
    """
    filled = normalise(_spec_of(parent, spec))
    _check(parent, spec, filled)
    start = fork_start(store, parent, filled, spec.step, state=spec.state)
    digest = _digest(filled, parent, spec.step, carried=start.carried)
    if idempotency_key is None and (there := equal_run(store, spec.name, digest)) is not None:
        return there
    cohort = NewCohort(str(uuid7()))
    name = spec.name or made_up_name(filled.optimizer.name, parent.problem)
    run = replace(
        new_run(filled, name, cohort.id),
        spec_digest=digest,
        parent_run_id=parent.id,
        parent_step=spec.step,
        step=spec.step,
        **_costs(store, parent, spec.step),
    )
    begun_from = Checkpoint(run.id, run.step, start.payload)
    submitted = write(store, None, [run], [cohort], idempotency_key, publish, [begun_from])
    return store.run(submitted.run_ids[0])


def resume_run(
    store: Store,
    run: RunRow,
    steps: int | None = None,
    *,
    max_seconds: float | None = None,
    publish: Publish = queue.publish,
) -> RunRow:
    """Let an ended run go on until it has `steps` steps, as if it had been asked for so many from the start.

    Without `steps` a cancelled or failed run goes on to those that it was asked for. The schedule stays as its own
    settings say, and so does what is stored: neither follows from the number of steps. A run that has so many, or is
    on its way there, stays as it is: asking twice is harmless. A time limit that it came to is lifted; `max_seconds` is
    a new one, of all that it trains.

    Raises:
        Conflict: The run is live, and was asked for another number of steps.
        InvalidSpec: It has made more, diverged, or belongs to a study, whose runs have equally many.
    """
    wanted = run.total_steps if steps is None else steps
    if run.state in LIVE:
        if wanted == run.total_steps:
            return run
        raise Conflict(f"run {run.name}: is {run.state}, on its way to {run.total_steps} steps; wait for its end")
    if run.stop_reason == "diverged":
        raise InvalidSpec(f"run {run.name}: diverged at step {run.step - 1}, and every step from there on is the same")
    if wanted == run.step == run.total_steps:
        return run
    if wanted <= run.step:
        raise InvalidSpec(f"steps: must be more than the {run.step} that run {run.name} has made, got {wanted}")
    if run.study_id is not None and wanted != run.total_steps:
        raise InvalidSpec(
            f"steps: the runs of a study have equally many, {run.total_steps}, got {wanted}; "
            f"fork the run at step {run.step} instead: its record has the same bits"
        )
    spec = RunSpec.model_validate(run.spec)
    spec = spec.model_copy(update={"steps": wanted, "max_seconds": _limit(run, spec.max_seconds, max_seconds)})
    cohort = NewCohort(str(uuid7()), run.study_id)
    require_room(store, [replace(run, total_steps=wanted)])
    store.resume(
        run,
        cohort,
        spec=spec.model_dump(mode="json"),
        spec_digest=spec.digest if run.parent_run_id is None else _redigest(run, spec),
        steps=wanted,
        keep=run.step % checkpoint_every(run.record, size_of(run), wanted) == 0 or run.step == run.parent_step,
    )
    publish_all(store, [cohort.id], publish)
    return store.run(run.id)


def _limit(run: RunRow, before: float | None, wanted: float | None) -> float | None:
    """Its time limit from here on; raises InvalidSpec where it has trained for so long already."""
    if wanted is not None and wanted <= run.trained_seconds:
        trained = f"{run.trained_seconds:.3g} s that run {run.name} has trained"
        raise InvalidSpec(f"max_seconds: must be more than the {trained}, got {wanted}")
    return None if wanted is None and run.stop_reason == "time" else wanted or before


def _spec_of(parent: RunRow, fork: ForkSpec) -> RunSpec:
    """The parent's, with what the fork changes."""
    changed = fork.model_dump(mode="json", exclude={"step", "state"}, exclude_none=True)
    return RunSpec.model_validate(parent.spec | {"name": None} | changed)


def _check(parent: RunRow, fork: ForkSpec, filled: RunSpec) -> None:
    if fork.step > parent.step:
        raise NoSuchStep(f"run {parent.name}: can be forked at the steps 0 to {parent.step}, got {fork.step}")
    if parent.stop_reason == "diverged" and fork.step >= parent.step - 1:
        raise InvalidSpec(
            f"step: run {parent.name} diverged at step {parent.step - 1}, so a fork must begin before it, "
            f"got {fork.step}"
        )
    if filled.steps <= fork.step:
        raise InvalidSpec(
            f"steps: counts the {fork.step} steps of the history too, so it must be more, got {filled.steps}"
        )


def _costs(store: Store, parent: RunRow, step: int) -> dict[str, Any]:
    """The last and the best cost of the history."""
    costs = store.steps(parent.id, 0, step).cost
    finite = costs[np.isfinite(costs)]
    return {"cost": float(costs[-1]), "best_cost": float(finite.min())} if finite.size else {}


def _digest(spec: RunSpec, parent: RunRow, step: int, *, carried: bool) -> str:
    """A fork is not the run that has its spec from the start, so neither are their digests equal."""
    return _sha256([spec.digest, parent.id, step, carried])


def _redigest(run: RunRow, spec: RunSpec) -> str:
    return _sha256([run.spec_digest, spec.digest])


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
