"""Schedules: each formula at characteristic steps, each setting's range, and no dependence but on the step."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from talweg_core import Cohort, optimizers, problems, schedules
from talweg_core.errors import EngineError, UnknownName

# One working setting of each; a new schedule is tested by being listed here.
SETTINGS: dict[str, dict[str, Any]] = {
    "constant": {},
    "linear": {"steps": 10, "start": 0.5, "end": 0.1},
    "cosine": {"steps": 10, "end": 0.2},
    "cosine_restarts": {"steps": 4, "growth": 2},
    "step": {"every": 3, "factor_each": 0.5},
    "exponential": {"rate": 0.9},
    "polynomial": {"steps": 10, "power": 3},
    "inverse_square_root": {"after": 4},
    "warmup": {"steps": 4, "then": {"name": "cosine", "steps": 10}},
    "one_cycle": {"steps": 20},
    "warmup_stable_decay": {"steps": 20, "warmup": 4, "decay": 5},
    "sequence": {
        "schedules": [
            {"name": "linear", "steps": 4, "start": 0, "end": 1},
            "constant",
            {"name": "constant", "scale": 0.5},
        ],
        "boundaries": [4, 9],
    },
}

# By hand: the schedule at (step, factor).
VALUES: list[tuple[str, dict[str, Any], dict[int, float]]] = [
    ("constant", {}, {0: 1, 1_000_000: 1}),
    ("linear", {"steps": 10}, {0: 1, 5: 0.5, 10: 0, 99: 0}),
    ("linear", {"steps": 10, "start": 0.5, "end": 0.1}, {0: 0.5, 5: 0.3, 10: 0.1}),
    ("cosine", {"steps": 8}, {0: 1, 2: 0.5 + math.sqrt(0.5) / 2, 4: 0.5, 8: 0, 9: 0}),
    ("cosine", {"steps": 8, "end": 0.2}, {0: 1, 4: 0.6, 8: 0.2}),
    ("cosine_restarts", {"steps": 4, "growth": 2}, {0: 1, 2: 0.5, 4: 1, 8: 0.5, 12: 1, 20: 0.5, 28: 1}),
    ("cosine_restarts", {"steps": 4}, {0: 1, 2: 0.5, 4: 1, 4_000_002: 0.5}),
    ("step", {"every": 3, "factor_each": 0.5}, {0: 1, 2: 1, 3: 0.5, 8: 0.25}),
    ("exponential", {"rate": 0.9}, {0: 1, 2: 0.81}),
    ("exponential", {"rate": 0.25, "steps": 4}, {2: 0.5, 4: 0.25}),
    ("polynomial", {"steps": 10, "power": 3}, {0: 1, 5: 0.125, 10: 0}),
    ("inverse_square_root", {"after": 4}, {0: 1, 4: 1, 16: 0.5, 64: 0.25}),
    ("warmup", {"steps": 4}, {0: 0, 1: 0.25, 3: 0.75, 4: 1, 9: 1}),
    ("warmup", {"steps": 4, "start": 0.2, "then": {"name": "linear", "steps": 10}}, {0: 0.2, 2: 0.6, 4: 1, 9: 0.5}),
    # The maximum is at step 0.3 · 20 − 1 = 5, the end at step 19.
    ("one_cycle", {"steps": 20}, {0: 0.04, 5: 1, 12: (1 + 4e-6) / 2, 19: 4e-6, 50: 4e-6}),
    ("polynomial", {"steps": 10, "power": 1, "begin": 4}, {0: 1, 4: 1, 9: 0.5, 14: 0, 30: 0}),
    ("cosine_restarts", {"steps": 4, "growth": 2, "decay": 0.5}, {0: 1, 2: 0.5, 4: 0.5, 8: 0.25, 12: 0.25}),
    ("cosine", {"steps": 8, "start": 0.2, "end": 1.0}, {0: 0.2, 4: 0.6, 8: 1, 9: 1}),
    ("sequence", SETTINGS["sequence"], {0: 0, 3: 0.75, 4: 1, 8: 1, 9: 0.5, 99: 0.5}),
    (
        "sequence",
        {"schedules": ["constant", {"name": "inverse_square_root", "after": 4, "skip": 4}], "boundaries": [4]},
        {3: 1, 4: 1, 16: 0.5, 64: 0.25},
    ),
    ("warmup_stable_decay", {"steps": 20, "warmup": 4, "decay": 5}, {0: 0, 1: 0.25, 4: 1, 15: 1, 16: 0.8, 20: 0}),
]


@pytest.mark.parametrize(("name", "settings", "values"), VALUES)
def test_a_schedule_has_the_values_of_its_formula(
    name: str, settings: dict[str, Any], values: dict[int, float]
) -> None:
    made = schedules.create(name, **settings)
    # A few roundings of cos and powers.
    assert {step: made.factor(step) for step in values} == pytest.approx(values, rel=1e-12, abs=1e-15)


# From PyTorch and optax, taken once: see optimizers/references/generate.py.
LIBRARY: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "optimizers" / "references" / "schedules.json").read_text()
)["cases"]


@pytest.mark.parametrize("case", LIBRARY, ids=lambda case: case["reference"])
def test_a_schedule_has_the_library_s_factors(case: dict[str, Any]) -> None:
    made = schedules.create(case["schedule"], **case["settings"])
    found = [made.factor(step) for step in range(len(case["factors"]))]
    # PyTorch multiplies step by step, Talweg computes a formula of the step: they differ by a few roundings.
    assert found == pytest.approx(case["factors"], rel=1e-12, abs=1e-15)


def test_every_schedule_that_a_library_has_is_compared_with_it() -> None:
    assert {case["schedule"] for case in LIBRARY} == set(schedules.names()) - {"inverse_square_root"}


def test_every_schedule_is_tested() -> None:
    assert set(SETTINGS) == set(schedules.names()) == {name for name, _, _ in VALUES}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_schedule_is_a_function_of_the_step_alone(name: str) -> None:
    made = schedules.create(name, **SETTINGS[name])
    forwards = [made.factor(step) for step in range(40)]
    assert [made.factor(step) for step in reversed(range(40))] == forwards[::-1]
    assert all(factor >= 0 and math.isfinite(factor) for factor in forwards)


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_make_the_same_schedule_again(name: str) -> None:
    made = schedules.create(name, **SETTINGS[name])
    assert schedules.create(name, **made.settings()) == made


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("cosine", {}, "cosine: steps must be given"),
    ("cosine", {"steps": 0}, "cosine: steps must lie in [1, ∞), got 0"),
    ("cosine", {"steps": 2.5}, "cosine: steps must be a whole number in [1, ∞), got 2.5"),
    ("cosine", {"steps": True}, "cosine: steps must be a whole number in [1, ∞), got True"),
    ("cosine", {"steps": 9, "end": 1.5}, "cosine: end must lie in [0, 1], got 1.5"),
    ("exponential", {"rate": math.nan}, "exponential: rate must lie in (0, 1], got nan"),
    ("step", {"every": 3, "factor_each": "a"}, "step: factor_each must be a number in (0, 1], got 'a'"),
    ("warmup", {"steps": 3, "then": 3}, 'warmup: then must hold settings such as {"name": "cosine"}, got 3'),
    ("warmup", {"steps": 3, "then": {"name": "cosine"}}, "cosine: steps must be given"),
    ("sequence", {"schedules": [], "boundaries": []}, "sequence: schedules must be a list of at least one, got []"),
    (
        "sequence",
        {"schedules": ["constant", "constant"], "boundaries": [0]},
        "sequence: boundaries must be 1 ascending whole numbers from 1, got [0]",
    ),
    (
        "sequence",
        {"schedules": ["constant"], "boundaries": [3]},
        "sequence: boundaries must be 0 ascending whole numbers from 1, got [3]",
    ),
    (
        "sequence",
        {"schedules": [{"name": "constant", "scale": -1}], "boundaries": []},
        "sequence: scale must lie in [0, ∞), got -1",
    ),
    (
        "warmup_stable_decay",
        {"steps": 9, "warmup": 5, "decay": 5},
        "warmup_stable_decay: warmup + decay must be at most steps = 9, got 10",
    ),
]


@pytest.mark.parametrize(("name", "settings", "message"), REFUSED)
def test_a_wrong_setting_is_refused_with_name_rule_and_value(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(EngineError) as refused:
        schedules.create(name, **settings)
    assert str(refused.value) == message


def test_settings_that_came_later_are_not_written_at_their_defaults() -> None:
    assert schedules.create("cosine", steps=9).settings() == {"steps": 9, "end": 0.0}
    assert schedules.create("polynomial", steps=9, begin=2).settings()["begin"] == 2


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'cosine'"):
        schedules.create("cosin")
    with pytest.raises(UnknownName, match="cosine: setting: there is no 'step'; did you mean 'steps'"):
        schedules.create("cosine", step=3)


def test_a_cohort_takes_a_schedule_a_run_and_records_the_rate() -> None:
    made = [schedules.create("linear", steps=4), schedules.create("constant")]
    rules = [optimizers.create("sgd", learning_rate=1e-3)] * 2
    runs = Cohort(problems.create("rosenbrock"), rules, [0, 0], schedule=made)
    rates = [record.learning_rates.tolist() for record in runs.run(5)]
    assert rates == [[1e-3, 1e-3], [0.75e-3, 1e-3], [0.5e-3, 1e-3], [0.25e-3, 1e-3], [0, 1e-3]]
