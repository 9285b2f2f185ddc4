"""Names in MLflow."""

from typing import Any

import pytest

from talweg.tracking.naming import metric_key, parameters, run_name, status, tags


@pytest.fixture
def spec() -> dict[str, Any]:
    """A run as the store holds it."""
    return {
        "problem": {"name": "rosenbrock", "start": [-0.5, 1.5]},
        "optimizer": {"name": "adam", "learning_rate": 0.003, "beta1": 0.9, "epsilon": 1e-08},
        "schedule": {"name": "constant"},
        "batch_size": None,
        "steps": 500,
        "seed": 2,
        "precision": "float32",
        "evaluate_every": 50,
        "record": "auto",
        "name": None,
    }


def test_a_run_is_named_for_what_varies(spec: dict[str, Any]) -> None:
    assert run_name(spec, (), alone=False, stop_reason=None) == "adam s2 · lr 0.003"
    assert run_name(spec, {"beta1"}, alone=False, stop_reason=None) == "adam s2 · lr 0.003 · beta1 0.9"


def test_a_run_of_no_study_names_its_problem(spec: dict[str, Any]) -> None:
    assert run_name(spec, (), alone=True, stop_reason=None) == "rosenbrock · adam s2 · lr 0.003"


def test_a_diverged_runs_name_says_so(spec: dict[str, Any]) -> None:
    name = run_name(spec, (), alone=False, stop_reason="diverged")
    assert name == "adam s2 diverged · lr 0.003"


def test_every_setting_is_a_parameter_with_all_of_its_digits(spec: dict[str, Any]) -> None:
    spec["optimizer"]["learning_rate"] = 0.1 + 0.2
    assert parameters(spec) == {
        "optimizer": "adam",
        "learning_rate": "0.30000000000000004",
        "beta1": "0.9",
        "epsilon": "1e-08",
        "problem": "rosenbrock",
        "problem.start": "[-0.5, 1.5]",
        "schedule": "constant",
        "steps": "500",
        "seed": "2",
        "precision": "float32",
        "evaluate_every": "50",
        "record": "auto",
    }


def test_long_values_are_cut_to_what_mlflow_takes(spec: dict[str, Any]) -> None:
    spec["problem"]["start"] = [0.1] * 5000
    assert len(parameters(spec)["problem.start"]) == 6000
    assert len(tags({"note": "x" * 10_000})["note"]) == 8000


def test_tags_without_a_value_are_left_out() -> None:
    assert tags({"talweg.study": None, "seed": 3}) == {"seed": "3"}


def test_metric_keys_hold_only_what_mlflow_takes() -> None:
    assert metric_key("gradient_norm", "dense1.weight") == "gradient_norm.dense1.weight"
    assert metric_key("derivative", "w", "") == "derivative.w"
    assert metric_key("cost", "my split/../x") == "cost.my split_.._x"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("queued", "SCHEDULED"),
        ("running", "RUNNING"),
        ("finished", "FINISHED"),
        ("failed", "FAILED"),
        ("cancelled", "KILLED"),
    ],
)
def test_every_state_has_mlflows_word(state: str, said: str) -> None:
    assert status(state) == said
