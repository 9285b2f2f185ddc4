"""Every trajectory equals that of an independent implementation: see references/generate.py."""

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from talweg_core import Cohort, optimizers, problems
from talweg_core.data import Dataset
from talweg_core.problems import NetworkProblem, Problem

FOLDER = Path(__file__).parent / "references"
TABLE = json.loads((FOLDER / "cases.json").read_text())
# Its line search iterates: a rounding changes a trial length, and with it all later trials.
ITERATING = {"lbfgs"}
CASES = [
    pytest.param(case, problem, id=f"{case['key']}-{problem}")
    for case in TABLE["cases"]
    for problem in case["problems"]
]
BUILT_IN = sorted(n for n, kind in optimizers.catalogue().items() if kind.__module__.startswith("talweg_core"))


@pytest.fixture(scope="module")
def data() -> dict[str, NDArray[np.float64]]:
    """Every array of trajectories.npz."""
    with np.load(FOLDER / "trajectories.npz") as arrays:
        return {name: arrays[name] for name in arrays}


def problem_named(name: str, data: dict[str, NDArray[np.float64]]) -> Problem:
    """Rosenbrock, or linear regression with W (5, 3) and b (3) on the full batch."""
    if name == "rosenbrock":
        return problems.create("rosenbrock", start=[-0.5, 1.5])
    everything = np.arange(len(data["data/inputs"]))
    splits = dict.fromkeys(("train", "validation", "test"), everything)
    dataset = Dataset("matrix", data["data/inputs"], data["data/targets"], splits)
    layers = [{"layer": "dense", "units": 3}]
    size = len(everything)
    start = data["data/start"].tolist()
    return NetworkProblem("matrix", dataset, layers, "squared_error", batch_size=size, start=start)


@pytest.mark.parametrize(("case", "problem"), CASES)
def test_trajectory_equals_the_reference(
    case: dict[str, Any], problem: str, data: dict[str, NDArray[np.float64]]
) -> None:
    rule = optimizers.create(case["optimizer"], **case["settings"])
    runs = Cohort(problem_named(problem, data), [rule], [0], precision="float64")
    expected = data[f"{case['key']}/{problem}"]
    judged = data.get(f"{case['key']}/{problem}/evaluation")
    tolerance = 1e-6 if case["optimizer"] in ITERATING else 1e-9
    for step in range(TABLE["steps"] + 1):
        assert _distance(runs.parameters[0], expected[step]) <= tolerance, step
        if judged is not None:
            assert _distance(runs.evaluation_parameters[0], judged[step]) <= tolerance, step
        runs.advance()


def worked_by_hand() -> set[str]:
    """The optimizers of the tests `test_<name>_of_…_worked_by_hand` in test_catalogue_by_hand.py."""
    tree = ast.parse((Path(__file__).parent / "test_catalogue_by_hand.py").read_text())
    found = (node.name for node in tree.body if isinstance(node, ast.FunctionDef))
    claims = [name for name in found if name.endswith("_worked_by_hand")]
    return {name.removeprefix("test_").partition("_of_")[0] for name in claims if "_of_" in name}


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_optimizer_has_references_on_both_problems_or_is_worked_by_hand(name: str) -> None:
    covered = {problem for case in TABLE["cases"] for problem in case["problems"] if case["optimizer"] == name}
    assert covered == {"rosenbrock", "matrix"} or name in worked_by_hand()


def test_a_reference_is_of_an_optimizer_in_the_catalogue_and_has_its_fifty_steps(
    data: dict[str, NDArray[np.float64]],
) -> None:
    assert {case["optimizer"] for case in TABLE["cases"]} <= set(BUILT_IN)
    for case in TABLE["cases"]:
        for problem in case["problems"]:
            points = data[f"{case['key']}/{problem}"]
            assert points.shape == (TABLE["steps"] + 1, 2 if problem == "rosenbrock" else 18)
            # A trajectory without updates would prove nothing.
            assert _distance(points[-1], points[0]) > 1e-3, (case["key"], problem)
    assert TABLE["steps"] == 50


@pytest.mark.parametrize("name", TABLE["defaults"])
def test_defaults_are_the_library_s(name: str) -> None:
    """Where PyTorch, or else optax, has a default; learning_rate has none in most of optax."""
    ours = optimizers.create(name).settings()
    theirs = TABLE["defaults"][name]["values"]
    assert {key: ours[key] for key in theirs} == theirs


def test_the_defaults_of_every_optimizer_with_a_library_s_method_are_compared() -> None:
    referenced = {case["optimizer"] for case in TABLE["cases"]}
    # optax.contrib.sam has no defaults: both its optimizers are arguments.
    assert set(TABLE["defaults"]) == referenced - {"sam"}


def _distance(found: Any, expected: Any) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
