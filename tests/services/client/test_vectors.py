"""Slices over many steps, tables and batches through the API; forks and resumed runs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from talweg.client import Lab, Run, vectors
from talweg.errors import InvalidSpec, NoSuchStep
from talweg.spec import RunSpec
from talweg_core import problems

SPEC: dict[str, Any] = {"problem": "wine-mlp", "optimizer": "adam", "steps": 150, "seed": 3, "learning_rate": 0.01}


@pytest.fixture(scope="module", params=["full", "replay"])
def run(request: pytest.FixtureRequest, lab: Lab, train: Callable[[], None]) -> Run:
    """A run that has finished, under either policy."""
    run = lab.submit(**SPEC, record=request.param)
    train()
    return run.wait(progress=False)


@pytest.fixture
def truth(held: Callable[[RunSpec], Any]) -> Any:
    """What the engine held."""
    optimizer = {"name": "adam", "learning_rate": 0.01}
    return held(
        RunSpec.model_validate({k: v for k, v in SPEC.items() if k != "learning_rate"} | {"optimizer": optimizer})
    )


def test_slices_have_the_bits_of_the_engine(run: Run, truth: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = truth.gradients[:, : 13 * 16].reshape(150, 13, 16)
    # Pages of a few steps.
    monkeypatch.setattr(vectors, "PAGE", 20_000)
    lazy = run.gradients["dense1.weight"]
    assert (len(run.gradients), len(run.trajectory), lazy.shape) == (150, 151, (150, 13, 16))
    for key in (
        np.s_[:, 3, 5], np.s_[10:20], np.s_[60:70, 3], np.s_[5:140:7, :, 5], np.s_[-1], np.s_[149, 2:9:2, ...],
        np.s_[70, 1, 2], np.s_[:, -1, -1], np.s_[3:3],
    ):  # fmt: skip
        got, expected = lazy[key], weights[key]
        assert got.dtype == expected.dtype
        assert got.shape == expected.shape
        assert got.tobytes() == expected.tobytes()
    some = run.trajectory[140:151]
    assert {name: part.shape for name, part in some.items()} == {name: (11, *s) for name, s in run.shapes.items()}
    flat = np.concatenate([part.reshape(11, -1) for part in some.values()], axis=1)
    assert flat.tobytes() == truth.parameters[140:].tobytes()
    assert run.gradients[7]["dense1.bias"].tobytes() == truth.gradients[7, 13 * 16 : 13 * 16 + 16].tobytes()
    assert np.asarray(run.gradients["dense2.bias"]).shape == (150, 3)


@pytest.mark.parametrize(
    ("tensor", "key", "message"),
    [
        ("dense1.weigth", 0, r"must be one of dense1\.weight"),
        ("dense1.weight", np.s_[:, 13], r"must lie in \[0, 12\], got 13"),
        ("dense1.weight", np.s_[150], r"step: an index must lie in \[0, 149\], got 150"),
        ("dense1.weight", np.s_[:, 1, 1, 1], "has at most 3 axes"),
        ("dense1.weight", np.s_[::-1], "must have a positive stride"),
        ("dense1.weight", np.s_[:, 1.5], "must be an integer or a slice"),
    ],
)
def test_what_cannot_be_sliced_says_why(run: Run, tensor: str, key: Any, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        run.gradients[tensor][key]


@pytest.mark.parametrize("query", [{"index": "1"}, {"tensor": "dense1.weight", "index": "99"}, {"tensor": "dense"}])
def test_the_api_refuses_invalid_parts(run: Run, query: dict[str, str]) -> None:
    with pytest.raises(InvalidSpec, match=r"index|tensor"):
        run._wire.array(run._path("records", "gradient"), start=0, stop=1, **query)


def test_a_table_has_a_row_a_step(run: Run, truth: Any) -> None:
    frame = run.table("dense1.weight", (3, 5)).to_pandas()
    at = 3 * 16 + 5
    assert list(frame.columns)[:2] == ["step", "cost"]
    assert frame["cost"].to_numpy().tobytes() == truth.costs.tobytes()
    assert (frame["derivative"] == truth.gradients[:, at]).all()
    assert (frame["parameter"] == truth.parameters[:-1, at]).all()
    assert (frame["update"] == np.diff(truth.parameters[:, at].astype(np.float64))).all()
    assert run.table().to_arrow().column_names == list(frame.columns)[:6]
    with pytest.raises(InvalidSpec, match=r"must lie in the shape \(13, 16\), got \(3,\)"):
        run.table("dense1.weight", 3)


def test_a_batch_is_what_the_gradient_was_taken_over(run: Run, lab: Lab, train: Callable[[], None]) -> None:
    problem = problems.create("wine-mlp")
    assert isinstance(problem, problems.NetworkProblem)
    inputs, targets = problem.dataset.part("train")
    batch = run.batch(step=37)
    assert len(batch) == run.spec["batch_size"]
    assert batch.inputs is not None
    assert batch.targets is not None
    assert batch.inputs.tobytes() == inputs[batch.indices].tobytes()
    assert np.array_equal(batch.targets, targets[batch.indices])
    with pytest.raises(NoSuchStep):
        run.batch(150)
    surface = lab.submit(problem="rosenbrock", optimizer="sgd", steps=2)
    train()
    assert surface.batch(0).inputs is None


def test_a_fork_shares_its_history_and_has_other_settings_after(run: Run, train: Callable[[], None]) -> None:
    branch = run.fork(step=37, optimizer="sgd", learning_rate=0.1, steps=100)
    assert branch.parent is not None
    assert (branch.parent.id, branch.parent_step, branch.step, run.parent) == (run.id, 37, 37, None)
    train()
    branch.wait(progress=False)
    assert branch.costs[:38].tobytes() == run.costs[:38].tobytes()
    assert len(branch.costs) == 100
    assert set(branch.learning_rates[37:]) == {0.1}
    assert branch.gradients["dense1.weight"][30:38].tobytes() == run.gradients["dense1.weight"][30:38].tobytes()
    # Only what is said changes.
    slower = run.fork(step=37, learning_rate=0.001)
    assert slower.spec["optimizer"] == run.spec["optimizer"] | {"learning_rate": 0.001}
    with pytest.raises(InvalidSpec, match="seed: is neither a key of ForkSpec nor a hyperparameter of adam"):
        run.fork(step=37, seed=4)
    with pytest.raises(NoSuchStep, match="can be forked at the steps 0 to 150, got 151"):
        run.fork(step=151)


def test_a_finished_run_is_resumed(lab: Lab, train: Callable[[], None]) -> None:
    short, long = (lab.submit(**SPEC | {"steps": steps}) for steps in (50, 90))
    train()
    first = short.wait(progress=False).costs
    assert short.resume(steps=90).state == "queued"
    train()
    assert short.wait(progress=False).costs.tobytes() == long.costs.tobytes()
    assert short.costs[:50].tobytes() == first.tobytes()
    assert short.resume(steps=90).state == "finished"


def test_a_step_is_explained_as_a_whole_and_by_one_coordinate(run: Run) -> None:
    whole = run.explain(step=37)
    assert "The update of step 37 lowered the cost of its batch" in str(whole)
    assert {row["tensor"] for row in whole["tensors"]} == set(run.shapes)
    most = whole["coordinates"][0]
    one = run.explain(37, most["tensor"], most["index"])
    assert (one["derivative"], one["update"]) == (most["derivative"], most["update"])
    assert one["learning_rate"] == 0.01
    assert set(one["state"]) == set(one["state_after"])
    assert "gradient descent would have made an update of" in str(one)


def test_the_next_updates_are_a_table(run: Run) -> None:
    table = run.next_updates(step=37, optimizers=["schedule_free_sgd", "adam"])
    assert table.column("optimizer") == ["adam", "schedule_free_sgd", "adam"]
    assert table.column("state") == ["the run's", "fresh", "fresh"]
    assert table.column("update_norm")[0] == pytest.approx(float(run.norms["update"].tolist()[37]), rel=1e-9)
    # Its first step goes down the gradient. In degrees: it is the difference of two float32 points, and so rounded.
    assert table.column("angle")[1] == pytest.approx(0, abs=0.01)


def test_a_run_verifies_itself(run: Run) -> None:
    found = run.verify()
    assert (found.agrees, found.steps, found.broken) == (True, 150, ())
    assert "central differences" in found.findings.column("looked at")
    assert "the record agrees; 150 steps recomputed" in str(found)
    assert 0 < run.verify(sample=1).steps <= 150
