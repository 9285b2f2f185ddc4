"""Study specs of every protocol: their runs, and the refused settings."""

from typing import Any

import pytest

from talweg.errors import InvalidSpec
from talweg.records import normalise_study
from talweg.spec import StudySpec, parse_study

FIXED: dict[str, Any] = {"problem": "wine-mlp", "optimizers": ["sgd", "adam"], "seeds": 2, "steps": 20}


def made(**changed: Any) -> StudySpec:
    """The spec, with every default filled in."""
    return normalise_study(parse_study(FIXED | changed))


def test_a_fixed_study_keeps_the_content_and_digest_of_earlier_versions() -> None:
    content = made().content
    assert set(content) == {
        "problem", "schedule", "batch_size", "steps", "precision", "evaluate_every", "record", "name", "protocol",
        "optimizers", "seeds",
    }  # fmt: skip
    # Of version 0.1.0.
    old = parse_study({"problem": {"name": "rosenbrock"}, "optimizers": [{"name": "sgd"}], "seeds": 3})
    assert old.digest == "d740260ec42cd23da0695d36399d0e36eeb54bfa8e9f66bc1f2b4e1173a4ddd4"
    assert StudySpec.model_validate(content).content == content


def test_a_grid_begins_with_its_tuning() -> None:
    spec = made(protocol="grid", grid={"low": 0.01, "high": 1, "points": 3, "seeds": 2})
    planned = spec.planned()
    assert [(p.stage, p.optimizer, p.spec.optimizer.settings["learning_rate"], p.spec.seed) for p in planned[:4]] == [
        ("tuning", 0, 0.01, 2),
        ("tuning", 0, 0.01, 3),
        ("tuning", 0, 0.1, 2),
        ("tuning", 0, 0.1, 3),
    ]
    assert len(planned) == 2 * 3 * 2
    assert spec.staged


def test_a_search_begins_each_seed_with_the_settings_as_given_and_shares_its_points() -> None:
    space = {"learning_rate": {"low": 1e-4, "high": 1}, "beta1": {"low": 0.8, "high": 0.99, "scale": "linear"}}
    spec = made(protocol="search", search={"space": space, "trials": 3, "seed": 7})
    planned = spec.planned()
    assert [(p.optimizer, p.spec.seed, p.trial) for p in planned[:6]] == [
        (0, seed, trial) for seed in (0, 1) for trial in (0, 1, 2)
    ]
    sgd, adam = planned[:6], planned[6:]
    assert adam[0].spec.optimizer == adam[3].spec.optimizer == spec.optimizers[1]
    for mine, other in zip(sgd, adam, strict=True):
        if mine.trial:
            rate = mine.spec.optimizer.settings["learning_rate"]
            assert rate == other.spec.optimizer.settings["learning_rate"]
            assert 1e-4 <= rate <= 1
            assert 0.8 <= other.spec.optimizer.settings["beta1"] <= 0.99
    assert len({p.spec.digest for p in planned}) == 12
    again = made(protocol="search", search={"space": space, "trials": 3, "seed": 7})
    assert again == spec == normalise_study(spec)
    assert made(protocol="search", search={"space": space, "trials": 3, "seed": 8}) != spec


def test_several_problems_have_their_own_steps_and_batches() -> None:
    problems = ["wine-mlp", {"problem": "rosenbrock", "steps": 50}, {"name": "rosenbrock", "start": [0.0, 0.5]}]
    spec = made(problem=None, problems=problems, seeds=1)
    planned = spec.planned()
    assert [(p.problem, p.spec.problem.name, p.spec.steps, p.spec.batch_size) for p in planned[::2]] == [
        (0, "wine-mlp", 20, 16),
        (1, "rosenbrock", 50, None),
        (2, "rosenbrock", 20, None),
    ]
    assert spec.problem_names() == ["wine-mlp", "rosenbrock-1", "rosenbrock-2"]


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"protocol": "grid", "seeds": [0, 1], "grid": {"seeds": [1, 5]}}, r"grid\.seeds: must not be among .* \[1\]"),
        ({"protocol": "grid", "grid": {"low": 1, "high": 0.1}}, "low must be below high"),
        ({"grid": {"points": 3}}, "grid: belongs to the protocol 'grid', got 'fixed'"),
        ({"protocol": "search", "search": {"space": {"beta1": {"low": 0.8, "high": 0.9}}}}, "sgd has none of beta1"),
        ({"protocol": "search", "search": {"trials": 2, "points": [[], []]}}, "must be 1 for each of 2 seeds"),
        (
            {
                "protocol": "search",
                "optimizers": ["adam"],
                "search": {"space": {"beta1": {"low": 0.8, "high": 1.0, "scale": "linear"}}},
            },
            "beta1 must lie in",
        ),
        ({"protocol": "search", "seeds": 10_000, "search": {"trials": 1000}}, "at most 100,000 runs, got 20,000,000"),
        ({"protocol": "grid", "seeds": 1, "grid": {"points": 1000, "seeds": 10_000}}, "at most 100,000 runs"),
        ({"problem": None}, "one problem, or several"),
        ({"problems": ["rosenbrock"]}, "and not both"),
        ({"problem": None, "problems": ["rosenbrock", "rosenbrock"]}, "each must differ"),
    ],
)
def test_unfair_or_meaningless_studies_are_refused(changed: dict[str, Any], rule: str) -> None:
    with pytest.raises(InvalidSpec, match=rule):
        made(**changed).planned()
