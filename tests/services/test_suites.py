"""Studies on a suite: its problems are filled in, and nothing else stands beside it."""

from typing import Any

import pytest

from talweg.errors import InvalidSpec
from talweg.records import normalise_study
from talweg.spec import StudySpec, parse_study
from talweg.study_settings import Target
from talweg_core.problems import suites

ASKED: dict[str, Any] = {"suite": "standard", "optimizers": ["sgd", "adam"], "seeds": 2}


def made(**changed: Any) -> StudySpec:
    """The spec, with every default filled in."""
    return normalise_study(parse_study(ASKED | changed))


def test_a_suite_fills_in_problems_steps_batch_sizes_and_targets() -> None:
    spec, entries = made(), suites.suite("standard")
    assert spec.content["suite"] == "standard"
    for own, entry in zip(spec.each_problem(), entries, strict=True):
        assert own.problem.name == entry.problem
        assert own.problem.settings.items() >= entry.settings.items()
        assert (own.steps, own.batch_size, own.evaluate_every) == (entry.steps, entry.batch_size, entry.evaluate_every)
        assert own.target == Target(cost=entry.target)
    assert spec.size() == len(entries) * 2 * 2
    assert spec.runs()[-1].steps == entries[-1].steps


def test_the_stored_spec_can_be_submitted_again() -> None:
    spec = made()
    again = normalise_study(StudySpec.model_validate(spec.content))
    assert again == spec
    assert again.digest == spec.digest


def test_a_spec_without_a_suite_says_nothing_of_it() -> None:
    assert "suite" not in parse_study({"problem": "wine-mlp", "optimizers": ["sgd"]}).content


def test_a_suite_can_be_tuned_on() -> None:
    spec = made(protocol="grid", grid={"points": 3})
    assert len(spec.planned()) == 10 * 2 * 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"problem": "digits-mlp"}, "problem: must not stand beside a suite, which names the problems itself"),
        ({"problems": ["digits-mlp"]}, "problems: must not stand beside a suite, which names the problems itself"),
        ({"problem": "digits-mlp", "problems": ["digits-mlp"]}, "problem: must not stand beside a suite"),
        ({"suite": "standrad"}, "suite: there is no 'standrad'; did you mean 'standard'?"),
        ({"suite": ""}, "suite: "),
        ({"steps": 100}, "steps: each problem of the suite 'standard' has its own, got 100"),
        ({"batch_size": 8}, "batch_size: each problem of the suite 'standard' has its own, got 8"),
        ({"evaluate_every": 1}, "evaluate_every: each problem of the suite 'standard' has its own, got 1"),
        ({"target": {"cost": 1}}, "target: each problem of the suite 'standard' has its own, got {'cost': 1.0"),
    ],
)
def test_what_a_suite_states_itself_is_refused_beside_it(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        made(**changed)
    assert message in str(caught.value)
