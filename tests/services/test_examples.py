"""The examples: the studies are valid, and acceleration.py gives the rates of Lessard, Recht and Packard."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from talweg.records import cohort_of, normalise_study
from talweg.spec import StudySpec, parse_study, read_spec

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The example as a module; it starts nothing until it is run."""
    spec = importlib.util.spec_from_file_location("acceleration", EXAMPLES / "acceleration.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("condition", [50.0, 100.0, 1000.0])
def test_the_published_rates_are_met(example: ModuleType, condition: float) -> None:
    for run in normalise_study(parse_study(example.study(condition))).runs():
        costs = [float(record.costs[0]) for record in cohort_of([run]).run(run.steps)]
        off = example.measured(costs) / example.published(condition)[run.optimizer.name] - 1
        # A double root makes the error fall as t ρᵗ: over the second half of 1,000 steps 2^(1/500), 0.14 %.
        assert -1e-4 < off < 0.002


# Another needs pytorch_optimizer: tests/libraries checks it.
STUDIES = sorted(path for path in EXAMPLES.glob("*.yaml") if path.stem != "every_optimizer")


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_studies_among_the_examples_are_valid(path: Path) -> None:
    spec = read_spec(path)
    assert isinstance(spec, StudySpec)
    assert len(normalise_study(spec).planned()) > 1
