"""Every optimizer's next update from a recorded state, the shares of coordinates, and explanations of updates."""

from collections.abc import Callable

import numpy as np
import pytest

from talweg.errors import InvalidSpec, NoSuchStep
from talweg.execution import fork_run, submit_run, train
from talweg.records import explain, explain_step, gradient, next_updates, parameters
from talweg.settings import Settings
from talweg.spec import RunSpec, parse_fork
from talweg.store import RunRow, Store
from talweg_core import optimizers

SETTINGS = Settings().model_copy(update={"workers": 1})


def end(store: Store, run: RunRow) -> RunRow:
    train(store, run.cohort_id, owner="test", settings=SETTINGS)
    return store.run(run.id)


@pytest.fixture
def run(store: Store, spec: Callable[..., RunSpec]) -> RunRow:
    """A run under Adam with a schedule."""
    asked = spec(schedule={"name": "step", "every": 50}, precision="float64", record="full")
    return end(store, submit_run(store, asked, publish=lambda _: None, settings=SETTINGS))


def test_the_runs_own_next_update_is_the_one_it_made(store: Store, run: RunRow) -> None:
    own, *others = next_updates(store, run, 70).items
    made = parameters(store, run, 71) - parameters(store, run, 70)
    assert (own.own, own.answer.optimizer, own.answer.learning_rate) == (True, "adam", 1e-4)
    assert own.answer.update.tobytes() == made.tobytes()
    assert own.answer.cost == store.steps(run.id, 70, 71).cost[0]
    # All except those that need every example in a batch.
    assert {o.answer.optimizer for o in others} == {
        name for name, kind in optimizers.catalogue().items() if not kind.full_batch
    }
    assert not any(other.own for other in others)
    assert all(np.isfinite(other.answer.update).all() for other in others)


def test_gradient_descent_goes_straight_down(store: Store, run: RunRow) -> None:
    _, sgd, momentum = next_updates(store, run, 70, ["sgd", "momentum"]).items
    slope, rate = gradient(store, run, 70), sgd.answer.learning_rate
    np.testing.assert_allclose(sgd.answer.update, -rate * slope, rtol=1e-9, atol=1e-17)
    assert sgd.answer.angle == pytest.approx(0, abs=1e-4)
    assert sgd.answer.size == pytest.approx(rate * float(np.linalg.norm(slope)))
    # A small step against the gradient lowers the cost by the rate times its square.
    change = sgd.answer.cost_after - sgd.answer.cost
    assert change == pytest.approx(-rate * float(slope @ slope), rel=0.1)
    assert momentum.answer.angle == pytest.approx(0, abs=1e-4)


def test_invalid_requests_name_the_reason(store: Store, run: RunRow) -> None:
    with pytest.raises(InvalidSpec, match="did you mean 'adam'"):
        next_updates(store, run, 70, ["adm"])
    with pytest.raises(InvalidSpec, match="optimizer: must be the name of an optimizer, got ''"):
        next_updates(store, run, 3, ["sgd", ""])
    with pytest.raises(InvalidSpec, match="batch_size must be all"):
        next_updates(store, run, 70, ["lbfgs"])
    with pytest.raises(NoSuchStep):
        explain_step(store, run, 150)


def test_the_shares_of_a_step_add_up_to_its_change(store: Store, run: RunRow) -> None:
    found = explain_step(store, run, 70, count=275)
    slope, before, after = gradient(store, run, 70), parameters(store, run, 70), parameters(store, run, 71)
    assert found.predicted_change == pytest.approx(float(slope @ (after - before)))
    assert sum(share.predicted_change for share in found.coordinates) == pytest.approx(found.predicted_change)
    assert found.cost_after - found.cost == pytest.approx(found.predicted_change, rel=0.1)
    sizes = [abs(share.predicted_change) for share in found.coordinates]
    assert sizes == sorted(sizes, reverse=True)
    first = found.coordinates[0]
    shape = {tensor["name"]: tensor["shape"] for tensor in run.tensors}[first.tensor]
    assert len(first.index) == len(shape)
    assert explain(store, run, 70, first.tensor, first.index).derivative == first.derivative
    assert f"`{first.tensor}[" in found.sentence
    assert "lowered the cost of its batch" in found.sentence


def test_an_explanation_has_the_optimizers_terms(store: Store, run: RunRow) -> None:
    found = explain(store, run, 70, "dense1.weight", (3, 5))
    g = gradient(store, run, 70)[3 * 16 + 5]
    assert found.learning_rate == 1e-4
    assert found.descent == -1e-4 * g
    # Kingma & Ba, algorithm 1.
    m, v = (found.state_after[name] for name in list(found.state_after)[:2])
    m0, v0 = (found.state[name] for name in list(found.state)[:2])
    assert m == pytest.approx(0.9 * m0 + 0.1 * g, rel=1e-12)
    assert v == pytest.approx(0.999 * v0 + 0.001 * g * g, rel=1e-12)
    expected = -1e-4 * (m / (1 - 0.9**71)) / (np.sqrt(v / (1 - 0.999**71)) + 1e-8)
    assert found.update == pytest.approx(expected, rel=1e-6)
    assert "At its learning rate of 0.0001, gradient descent would have made an update of" in found.sentence
    assert "With this derivative, the state of Adam there changed: " in found.sentence


def test_a_fork_explains_a_step_of_its_history_as_its_parent_does(store: Store, run: RunRow) -> None:
    asked = {"step": 100, "optimizer": "sgd", "batch_size": 16}
    fork = end(store, fork_run(store, run, parse_fork(asked), publish=lambda _: None))
    assert explain(store, fork, 70, "dense1.weight", (3, 5)) == explain(store, run, 70, "dense1.weight", (3, 5))
    assert explain_step(store, fork, 99) == explain_step(store, run, 99)
    assert explain(store, fork, 100, "dense1.weight", (3, 5)).optimizer == "SGD"
    assert next_updates(store, fork, 100, ["adam"]).items[0].answer.optimizer == "sgd"


def test_a_diverged_step_is_explained_as_far_as_numbers_are_finite(store: Store, spec: Callable[..., RunSpec]) -> None:
    asked = spec(problem="two-layer-line", optimizer={"name": "sgd", "learning_rate": 1e38}, steps=50)
    wild = end(store, submit_run(store, asked, publish=lambda _: None, settings=SETTINGS))
    assert wild.stop_reason == "diverged"
    found = explain_step(store, wild, wild.step - 1)
    assert not np.isfinite(found.cost)
    assert found.sentence
    own, sgd = next_updates(store, wild, wild.step - 1, ["sgd"]).items
    assert own.answer.update.tolist() == sgd.answer.update.tolist() == [0.0] * 4
    assert (own.answer.angle, own.answer.size) == (None, 0.0)


def test_next_updates_may_be_requested_in_parts(store: Store, run: RunRow) -> None:
    names = ["sgd", "adam", "lion"]
    found, after = [], None
    while True:
        part = next_updates(store, run, 70, names, after=after, seconds=0.0)
        found += [(one.answer.optimizer, one.own) for one in part.items]
        after = part.after
        if after is None:
            break
        assert after == found[-1][0]
    assert found == [("adam", True), ("sgd", False), ("adam", False), ("lion", False)]
    with pytest.raises(InvalidSpec, match="after: must be one of the requested optimizers, got 'adagrad'"):
        next_updates(store, run, 70, names, after="adagrad")
