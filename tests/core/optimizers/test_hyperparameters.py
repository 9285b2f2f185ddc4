"""Hyperparameters out of range are refused with name, rule and value."""

import dataclasses
import math
from typing import Any

import pytest

from talweg_core import optimizers
from talweg_core.errors import EngineError, InvalidHyperparameter, UnknownName
from talweg_core.optimizers.base import Interval

OUT_OF_RANGE = [
    ("adam", {"beta1": 1.0}, "Adam: beta1 must lie in [0, 1), got 1.0"),
    ("adam", {"beta2": -0.1}, "Adam: beta2 must lie in [0, 1), got -0.1"),
    ("adamw", {"weight_decay": -1}, "AdamW: weight_decay must lie in [0, ∞), got -1"),
    ("sgd", {"learning_rate": 0}, "SGD: learning_rate must lie in (0, ∞), got 0"),
    ("sgd", {"learning_rate": math.inf}, "SGD: learning_rate must lie in (0, ∞), got inf"),
    ("rmsprop", {"rho": math.nan}, "RMSProp: rho must lie in [0, 1), got nan"),
    ("momentum", {"momentum": "0.9"}, "Momentum: momentum must be a number in [0, 1), got '0.9'"),
    ("nesterov", {"momentum": True}, "Nesterov: momentum must be a number in [0, 1), got True"),
]


@pytest.mark.parametrize(("name", "settings", "message"), OUT_OF_RANGE)
def test_out_of_range_is_refused_with_name_rule_and_value(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidHyperparameter) as refused:
        optimizers.create(name, **settings)
    assert str(refused.value) == message


def test_an_unknown_hyperparameter_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidHyperparameter, match="Adam: hyperparameter: there is no 'beta_1'; did you mean 'beta1'"):
        optimizers.create("adam", beta_1=0.9)


def test_an_unknown_optimizer_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="there is no 'adamm'; did you mean 'adam'"):
        optimizers.create("adamm")


@pytest.mark.parametrize("name", optimizers.names())
def test_every_bound_of_every_hyperparameter_is_held(name: str) -> None:
    kind = optimizers.catalogue()[name]
    for field in kind.ranged():
        allowed = field.metadata["range"]
        wrong: list[Any] = [None, "many", [1.0]]
        if isinstance(allowed, Interval):
            wrong += [math.nan, True, allowed.low - 1, allowed.high + 1]
            wrong += [allowed.low] if allowed.closed[0] == "(" else []
            wrong += [allowed.high] if allowed.closed[1] == ")" else []
            wrong += [allowed.low + 0.5] if allowed.whole else []
        for value in wrong:
            with pytest.raises(EngineError, match=rf"^{kind.__name__}: {field.name} must "):
                optimizers.create(name, **{field.name: value})


@pytest.mark.parametrize("name", optimizers.names())
def test_settings_make_the_same_optimizer_again(name: str) -> None:
    made = optimizers.create(name)
    assert optimizers.create(name, **made.settings()) == made
    assert dataclasses.replace(made) == made


def test_one_and_one_point_zero_are_the_same_setting() -> None:
    assert optimizers.create("sgd", learning_rate=1).settings() == {"learning_rate": 1.0}


WRAPPERS: list[tuple[Any, str]] = [
    ("clip_norm", "Adam: around must be a list, got 'clip_norm'"),
    ([3], 'Adam: around must hold settings such as {"name": "clip_norm"}, got 3'),
    ([{"name": "clip_nrom"}], "Adam: around: there is no 'clip_nrom'; did you mean 'clip_norm'?"),
    ([{"name": "clip_norm", "limit": 0}], "ClipNorm: limit must lie in (0, ∞), got 0"),
    ([{"name": "clip_norm", "limits": 1}], "ClipNorm: hyperparameter: there is no 'limits'; did you mean 'limit'?"),
    ([{"name": "accumulate", "steps": 1.5}], "Accumulate: steps must be a whole number in [1, ∞), got 1.5"),
]


@pytest.mark.parametrize(("around", "message"), WRAPPERS)
def test_wrong_wrappers_are_refused_with_name_rule_and_value(around: Any, message: str) -> None:
    with pytest.raises(InvalidHyperparameter) as refused:
        optimizers.create("adam", around=around)
    assert str(refused.value) == message


def test_wrappers_are_settings_like_others() -> None:
    made = optimizers.create("adam", around=[{"name": "clip_norm"}, {"name": "average", "decay": 0.5}])
    assert made.settings()["around"] == [{"name": "clip_norm", "limit": 1.0}, {"name": "average", "decay": 0.5}]
    assert optimizers.create("adam", **made.settings()) == made
    assert made.around == (optimizers.ClipNorm(1.0), optimizers.Average(0.5))
    assert "around" not in optimizers.create("adam").settings()
