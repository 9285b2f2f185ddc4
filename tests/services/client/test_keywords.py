"""Keywords become keys of a spec or hyperparameters, or are refused with the nearest valid name."""

import re
from collections.abc import Collection
from typing import Any

import pytest

from talweg.client.keywords import run_spec, study_spec
from talweg.errors import InvalidSpec
from talweg.spec import RunSpec, StudySpec

KNOWN = {"adam": ["learning_rate", "beta1", "beta2", "epsilon"], "sgd": ["learning_rate"]}


def hyperparameters(name: str) -> Collection[str] | None:
    return KNOWN.get(name)


def spec_of(spec: object = None, **keywords: Any) -> dict[str, Any]:
    return run_spec(spec, keywords, hyperparameters)


def test_a_hyperparameter_moves_into_the_optimizer() -> None:
    assert spec_of(problem="digits-mlp", optimizer="adam", learning_rate=1e-3, beta1=0.8, steps=500) == {
        "problem": "digits-mlp",
        "optimizer": {"name": "adam", "learning_rate": 1e-3, "beta1": 0.8},
        "steps": 500,
    }


def test_a_spec_without_hyperparameters_is_unchanged() -> None:
    assert spec_of({"problem": "quadratic", "optimizer": "sgd"}, seed=3) == {
        "problem": "quadratic",
        "optimizer": "sgd",
        "seed": 3,
    }


def test_a_run_spec_can_be_changed_by_keywords() -> None:
    spec = RunSpec.model_validate({"problem": "quadratic", "optimizer": {"name": "adam", "beta1": 0.5}, "steps": 9})
    written = spec_of(spec, seed=4, learning_rate=0.1)
    assert written["optimizer"] == {"name": "adam", "beta1": 0.5, "learning_rate": 0.1}
    assert (written["steps"], written["seed"]) == (9, 4)


@pytest.mark.parametrize(
    ("keyword", "nearest"), [("stepz", "steps"), ("learning_rat", "learning_rate"), ("beta", "beta1|beta2")]
)
def test_an_unknown_keyword_gets_the_nearest_valid_name(keyword: str, nearest: str) -> None:
    rule = f"{keyword}: is neither a key of RunSpec nor a hyperparameter of adam; did you mean '({nearest})'"
    with pytest.raises(InvalidSpec, match=rule):
        spec_of(problem="quadratic", optimizer="adam", **{keyword: 1})


def test_an_unknown_optimizer_is_left_to_the_laboratory() -> None:
    assert spec_of(optimizer="adm", gamma=1)["optimizer"] == {"name": "adm", "gamma": 1}


def test_a_hyperparameter_given_twice_is_refused() -> None:
    with pytest.raises(
        InvalidSpec, match=re.escape("learning_rate: is given twice, got 0.2 and, in the optimizer, 0.1")
    ):
        spec_of(optimizer={"name": "sgd", "learning_rate": 0.1}, learning_rate=0.2)


def test_the_arguments_of_the_caller_are_not_changed() -> None:
    optimizer = {"name": "sgd"}
    spec_of({"problem": "quadratic"}, optimizer=optimizer, learning_rate=0.2)
    assert optimizer == {"name": "sgd"}


def test_a_spec_of_another_type_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="spec: must be a RunSpec or a dict, got str"):
        spec_of("digits-mlp")


def test_a_study_says_where_hyperparameters_go() -> None:
    with pytest.raises(InvalidSpec, match=r"learning_rate: is not a key of StudySpec.*goes into its optimizer"):
        study_spec(None, {"problem": "quadratic", "optimizers": ["sgd"], "learning_rate": 0.1})
    with pytest.raises(InvalidSpec, match="did you mean 'seeds'"):
        study_spec(None, {"seed": 3})


def test_a_study_spec_becomes_json() -> None:
    spec = StudySpec.model_validate({"problem": "quadratic", "optimizers": ["sgd", "adam"], "seeds": 2})
    assert study_spec(spec, {"seeds": 3})["seeds"] == 3
