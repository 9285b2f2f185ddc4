"""The saved view of an experiment: every chart in one section, and small enough for MLflow's tag."""

import base64
import json
import zlib
from typing import Any

import pytest

from talweg.records import problem_of
from talweg.spec import parse_run
from talweg.tracking.experiments import view
from talweg_core.problems import Problem, catalogue


def problem(name: str) -> Problem:
    """The problem of that name with its defaults."""
    return problem_of(parse_run({"problem": name, "optimizer": "sgd", "steps": 1}))


def read(text: str) -> dict[str, Any]:
    """The state that MLflow reads out of it."""
    packed = json.loads(text)["state"].removeprefix("deflate;")
    state: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return state


def sections(text: str) -> dict[str, list[str]]:
    """By section, the metrics of its charts."""
    state = read(text)
    names = {section["uuid"]: section["name"] for section in state["compareRunSections"]}
    found: dict[str, list[str]] = {name: [] for name in names.values()}
    for chart in state["compareRunCharts"]:
        found[names[chart["metricSectionId"]]].append(chart["metricKey"])
    return found


def test_a_networks_charts_are_in_the_section_of_what_they_measure() -> None:
    found = sections(view([problem("digits-mlp")]))
    assert found["Cost"][:3] == ["cost", "cost.validation", "accuracy.validation"]
    assert found["Gradient norms"] == [
        f"gradient_norm.{tensor}" for tensor in ("dense1.weight", "dense1.bias", "dense2.weight", "dense2.bias")
    ]
    assert "Derivatives" not in found
    assert list(found)[-1] == "System metrics"


def test_a_small_problem_has_each_derivative_and_parameter() -> None:
    found = sections(view([problem("rosenbrock"), problem("two-layer-line")]))
    assert found["Derivatives"][:2] == ["derivative.x.0", "derivative.x.1"]
    assert "parameter.dense1.weight.0.0" in found["Parameters"]


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_no_view_is_larger_than_a_tag(name: str) -> None:
    assert len(view([problem(name)])) < 20_000
    uuids = [chart["uuid"] for chart in read(view([problem(name)]))["compareRunCharts"]]
    assert len(set(uuids)) == len(uuids)


def test_runs_of_no_study_have_one_too() -> None:
    assert sections(view([])) == {
        "Cost": ["cost"],
        "Cost by evaluations, learning rate": ["cost", "learning_rate", "evaluations"],
        "System metrics": ["system/worker_cpu_percent_of_a_core", "system/worker_memory_megabytes"],
    }
