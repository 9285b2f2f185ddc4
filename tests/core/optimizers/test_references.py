"""Every trajectory equals that of an independent implementation: see references/generate.py."""

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
# These iterate inside, where a comparison that rounding tips sends a search another way.
ITERATING = {"lbfgs", "muon", "sophia"}
CASES = [
    pytest.param(case, problem, id=f"{case['key']}-{problem}")
    for case in TABLE["cases"]
    for problem in case["problems"]
]
# Nothing in PyTorch or optax: worked by hand in test_by_hand.py.
BY_HAND = {"shampoo", "soap"}


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


def test_every_optimizer_has_a_reference_or_is_worked_by_hand() -> None:
    built_in = {kind.name for kind in optimizers.catalogue().values() if kind.__module__.startswith("talweg_core")}
    assert built_in == {case["optimizer"] for case in TABLE["cases"]} | BY_HAND


def _distance(found: Any, expected: Any) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
