"""Forks share their parents' steps; resumed runs have the record of a run with more steps from the start."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import text

from talweg.errors import Conflict, InvalidSpec, NoSuchStep, ReplayDiverged
from talweg.execution import fork_run, resume_run, train
from talweg.records import norms, records
from talweg.settings import Settings
from talweg.spec import RunSpec, StudySpec, parse_fork
from talweg.store import RunRow, Store, StudyRow
from talweg_core.checkpoint import unpack

Submit = Callable[[RunSpec], RunRow]
End = Callable[[RunRow], RunRow]
Spec = Callable[..., RunSpec]
BATCH_NORM = {
    "dataset": "wine",
    "network": [{"layer": "dense", "units": 6}, {"layer": "batch_norm"}, {"layer": "dense", "units": 3}],
    "cost": "cross_entropy",
}


@pytest.fixture
def end(store: Store, settings: Settings) -> End:
    """Trains a queued run to its end."""

    def to_the_end(run: RunRow) -> RunRow:
        assert train(store, run.cohort_id, owner="test", settings=settings) == "finished"
        return store.run(run.id)

    return to_the_end


@pytest.fixture
def forked(store: Store, end: End) -> Callable[..., RunRow]:
    """Forks a run and trains the fork to its end."""

    def fork(parent: RunRow, **asked: Any) -> RunRow:
        return end(fork_run(store, parent, parse_fork(asked), publish=_publish_nothing))

    return fork


def _publish_nothing(_: str) -> None: ...


def whole(store: Store, run: RunRow) -> dict[str, NDArray[Any]]:
    """Everything that can be read of an ended run."""
    table = store.steps(run.id)
    evaluations = [(e.step, e.split, e.cost, e.metric) for e in store.evaluations(run.id)]
    return {
        "steps": np.vstack([table.step, table.cost, table.learning_rate, table.gradient_norm, table.update_norm]),
        "norms": norms(store, run, 0, run.step),
        "gradients": records(store, run, "gradient", 0, run.step),
        "parameters": records(store, run, "parameters", 0, run.step + 1),
        "evaluations": np.array([str(row) for row in evaluations]),
        "derivatives": np.array([str(row) for row in store.derivatives(run.id)]),
    }


def differing(one: dict[str, NDArray[Any]], other: dict[str, NDArray[Any]]) -> list[str]:
    """The names whose bits differ."""
    return [
        name for name in one if one[name].tobytes() != other[name].tobytes() or one[name].shape != other[name].shape
    ]


@pytest.mark.parametrize("record", ["full", "replay"])
@pytest.mark.parametrize("step", [0, 37, 64])
def test_an_unchanged_fork_is_bit_for_bit_its_parent(
    store: Store, trained: Submit, forked: Callable[..., RunRow], spec: Spec, record: str, step: int
) -> None:
    parent = trained(spec(record=record, steps=200))
    fork = forked(parent, step=step)
    assert (fork.parent_run_id, fork.parent_step, fork.step) == (parent.id, step, 200)
    assert len(store.chunks(fork.id, "norms", 0, step)) == 0
    assert differing(whole(store, parent), whole(store, fork)) == []
    assert (fork.cost, fork.best_cost) == (parent.cost, parent.best_cost)


@pytest.mark.parametrize("optimizer", ["momentum", "prodigy", "schedule_free_adamw", "shampoo"])
def test_forks_of_forks_are_still_their_parents(
    store: Store, trained: Submit, forked: Callable[..., RunRow], spec: Spec, optimizer: str
) -> None:
    parent = trained(spec(record="replay", steps=90, optimizer=optimizer, problem=BATCH_NORM))
    child = forked(parent, step=70, record="full")
    grandchild = forked(child, step=75, record="replay")
    # Starts before its parent does, at a step that the grandparent recorded.
    other = forked(child, step=20)
    assert {run.record for run in (parent, child, grandchild)} == {"full", "replay"}
    expected = whole(store, parent)
    assert [differing(expected, whole(store, run)) for run in (child, grandchild, other)] == [[], [], []]


def test_the_derivatives_rows_of_a_small_run_read_through(
    store: Store, trained: Submit, forked: Callable[..., RunRow], spec: Spec
) -> None:
    parent = trained(spec(problem="rosenbrock", steps=40))
    fork = forked(parent, step=25)
    assert len(store.derivatives(parent.id)) == 80
    assert differing(whole(store, parent), whole(store, fork)) == []


@pytest.mark.parametrize("record", ["full", "replay"])
def test_another_optimizer_starts_fresh_at_the_parents_parameters(
    store: Store, trained: Submit, forked: Callable[..., RunRow], spec: Spec, held: Any, record: str
) -> None:
    parent = trained(spec(record=record))
    fork = forked(parent, step=70, optimizer={"name": "momentum", "learning_rate": 0.05}, steps=120)
    assert (fork.optimizer, fork.seed, fork.step) == ("momentum", parent.seed, 120)
    begun = store.checkpoint_before(fork.id, 70)
    assert begun is not None
    facts, arrays = unpack(begun[1])
    assert (begun[0], facts["updates"]) == (70, 0)
    assert not any(values.any() for name, values in arrays.items() if name.startswith("state."))
    history, own = records(store, fork, "parameters", 0, 71), records(store, fork, "gradient", 70, 71)
    assert history.tobytes() == records(store, parent, "parameters", 0, 71).tobytes()
    # The same parameters and the same batch have the same gradient in both runs.
    assert own.tobytes() == records(store, parent, "gradient", 70, 71).tobytes()
    moved = records(store, fork, "parameters", 71, 72) - history[70]
    np.testing.assert_allclose(moved, -0.05 * own, rtol=0, atol=1e-6)
    assert store.steps(fork.id).cost[:71].tobytes() == store.steps(parent.id).cost[:71].tobytes()
    assert {e.step for e in store.evaluations(fork.id)} == {0, 50, 100, 120}


def test_state_is_carried_to_the_same_rule_with_other_numbers(
    store: Store, trained: Submit, forked: Callable[..., RunRow], spec: Spec
) -> None:
    parent = trained(spec())
    slower = forked(parent, step=100, optimizer={"name": "adam", "learning_rate": 1e-4}, steps=101)
    fresh = forked(parent, step=100, state="fresh", steps=101)
    found = {run.id: unpack(store.checkpoint_before(run.id, 100)[1])[0]["updates"] for run in (slower, fresh)}  # type: ignore[index]
    assert found == {slower.id: 100, fresh.id: 0}
    assert store.steps(slower.id, 100).learning_rate.tolist() == [1e-4]


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"step": 151}, NoSuchStep, "can be forked at the steps 0 to 150, got 151"),
        ({"step": 150}, InvalidSpec, "must be more than the 150 steps before the fork, which count too, got 150"),
        (
            {"step": 100, "steps": 100},
            InvalidSpec,
            "must be more than the 100 steps before the fork, which count too, got 100",
        ),
        ({"step": 10, "optimizer": "adm"}, InvalidSpec, "did you mean 'adam'"),
        ({"step": 10, "optimizer": "sgd", "state": "carried"}, InvalidSpec, "the same rule only, got sgd after adam"),
        ({"step": 10, "batch_size": 10**6}, InvalidSpec, "batch_size: must be at most"),
        ({"step": 10, "schedule": "cosin"}, InvalidSpec, "did you mean 'cosine'"),
    ],
)
def test_a_fork_that_cannot_be_is_refused(
    store: Store, trained: Submit, spec: Spec, asked: dict[str, Any], error: type[Exception], message: str
) -> None:
    parent = trained(spec())
    with pytest.raises(error, match=message):
        fork_run(store, parent, parse_fork(asked), publish=_publish_nothing)
    assert len(store.runs().items) == 1


def test_a_fork_of_a_diverged_step_is_refused(store: Store, trained: Submit, spec: Spec) -> None:
    wild = trained(spec(problem="diabetes-linear", optimizer={"name": "sgd", "learning_rate": 1e30}))
    assert wild.stop_reason == "diverged"
    last = wild.step - 1
    with pytest.raises(InvalidSpec, match=f"must be less than {last}, at which run .* diverged, got {last}"):
        fork_run(store, wild, parse_fork({"step": last}), publish=_publish_nothing)
    calm = fork_run(
        store,
        wild,
        parse_fork({"step": 0, "optimizer": {"name": "sgd", "learning_rate": 0.01}}),
        publish=_publish_nothing,
    )
    assert calm.parent_step == 0


def test_a_name_finds_the_same_fork_again_and_refuses_another(store: Store, trained: Submit, spec: Spec) -> None:
    parent = trained(spec())
    fork = fork_run(store, parent, parse_fork({"step": 5, "name": "mine"}), publish=_publish_nothing)
    assert fork_run(store, parent, parse_fork({"step": 5, "name": "mine"}), publish=_publish_nothing).id == fork.id
    with pytest.raises(Conflict, match="the name belongs to another run"):
        fork_run(store, parent, parse_fork({"step": 6, "name": "mine"}), publish=_publish_nothing)


def test_a_fork_is_interrupted_and_cancelled_like_any_run(
    store: Store, trained: Submit, settings: Settings, end: End, spec: Spec
) -> None:
    parent = trained(spec())
    fork = fork_run(store, parent, parse_fork({"step": 37}), publish=_publish_nothing)
    asked = iter([False] * 20)
    assert train(store, fork.cohort_id, owner="t", settings=settings, leave=lambda: next(asked, True)) == "released"
    assert store.run(fork.id).step == 57
    assert differing(whole(store, parent), whole(store, end(fork))) == []
    idle = fork_run(store, parent, parse_fork({"step": 37}), publish=_publish_nothing)
    store.request_cancel([idle.id])
    idle = store.run(idle.id)
    assert (idle.state, idle.step) == ("cancelled", 37)
    assert records(store, idle, "parameters", 0, 38).tobytes() == records(store, parent, "parameters", 0, 38).tobytes()


@pytest.mark.parametrize("record", ["full", "replay"])
@pytest.mark.parametrize(("steps", "more"), [(100, 200), (64, 300)])
def test_a_resumed_run_is_the_run_that_was_asked_for_more(
    store: Store,
    trained: Submit,
    end: End,
    spec: Spec,
    record: str,
    steps: int,
    more: int,
) -> None:
    at_once = trained(spec(record=record, steps=more))
    run = trained(spec(record=record, steps=steps))
    resumed = resume_run(store, run, more, publish=_publish_nothing)
    assert (resumed.id, resumed.state, resumed.step, resumed.total_steps) == (run.id, "queued", steps, more)
    resumed = end(resumed)
    assert differing(whole(store, at_once), whole(store, resumed)) == []
    same = ("step", "cost", "best_cost", "total_steps", "state", "stop_reason", "spec", "spec_digest", "error")
    assert [name for name in same if getattr(resumed, name) != getattr(at_once, name)] == []


def test_a_cancelled_run_resumes_to_its_number_of_steps(
    store: Store, submit: Submit, settings: Settings, end: End, spec: Spec, held: Any
) -> None:
    run = submit(spec())
    asked = iter([False] * 20)
    train(store, run.cohort_id, owner="test", settings=settings, leave=lambda: next(asked, True))
    store.request_cancel([run.id])
    run = end(resume_run(store, store.run(run.id), publish=_publish_nothing))
    assert (run.state, run.step) == ("finished", 150)
    assert store.steps(run.id).cost.tobytes() == held(spec()).costs.tobytes()


def test_resuming_twice_changes_nothing(store: Store, trained: Submit, end: End, spec: Spec) -> None:
    run = trained(spec())
    first = resume_run(store, run, 200, publish=_publish_nothing)
    assert resume_run(store, first, 200, publish=_publish_nothing) == first
    with pytest.raises(Conflict, match="is queued, to make 200 steps"):
        resume_run(store, first, 300, publish=_publish_nothing)
    with pytest.raises(Conflict, match="has changed since it was read"):
        resume_run(store, run, 300, publish=_publish_nothing)
    ended = end(first)
    assert resume_run(store, ended, 200, publish=_publish_nothing) == ended


def test_a_refused_resume_gives_its_reason(
    store: Store,
    trained: Submit,
    submitted_study: Callable[[StudySpec], StudyRow],
    end: End,
    spec: Spec,
) -> None:
    with pytest.raises(InvalidSpec, match=r"must be more than the 150 that run .* has made, got 100"):
        resume_run(store, trained(spec()), 100, publish=_publish_nothing)
    wild = trained(spec(problem="diabetes-linear", optimizer={"name": "sgd", "learning_rate": 1e30}))
    with pytest.raises(InvalidSpec, match="diverged at step"):
        resume_run(store, wild, 1000, publish=_publish_nothing)
    study = submitted_study(
        StudySpec.model_validate({"problem": "wine-mlp", "optimizers": ["sgd"], "seeds": 1, "steps": 20})
    )
    (one,) = store.runs_of(study.id)
    with pytest.raises(InvalidSpec, match="must have the same number, 20, got 40; fork the run at step 20"):
        resume_run(store, end(one), 40, publish=_publish_nothing)


def test_a_state_that_cannot_be_recomputed_is_not_forked(store: Store, trained: Submit, spec: Spec) -> None:
    """On a machine whose costs differ in the last bit, stored parameters are still exact."""
    stored, recomputed = trained(spec(record="full")), trained(spec(record="replay"))
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE steps SET cost = cost * 1.0000001 WHERE step = 20"))
    for parent in (stored, recomputed):
        with pytest.raises(ReplayDiverged, match="cost of step 20"):
            fork_run(store, parent, parse_fork({"step": 37}), publish=_publish_nothing)
    with pytest.raises(ReplayDiverged):
        fork_run(store, recomputed, parse_fork({"step": 37, "optimizer": "sgd"}), publish=_publish_nothing)
    fork = fork_run(store, stored, parse_fork({"step": 37, "optimizer": "sgd"}), publish=_publish_nothing)
    begun = store.checkpoint_before(fork.id, 37)
    assert begun is not None
    expected = records(store, stored, "parameters", 37, 38)[0]
    assert unpack(begun[1])[1]["parameters"].tobytes() == expected.tobytes()


def test_a_retried_fork_is_one_fork(store: Store, trained: Submit, spec: Spec) -> None:
    parent = trained(spec())
    published: list[str] = []
    for _ in range(2):
        fork = fork_run(store, parent, parse_fork({"step": 9}), idempotency_key="k", publish=published.append)
    assert published == [fork.cohort_id]
    assert len(store.runs().items) == 2
    with pytest.raises(Conflict, match="was used for another submission"):
        fork_run(store, parent, parse_fork({"step": 10}), idempotency_key="k", publish=published.append)
