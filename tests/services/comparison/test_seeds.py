"""How many seeds: notes at submission, the formula by hand, and plans that hold in simulation."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from talweg.comparison import Evaluations, Result, compare
from talweg.comparison.seeds import notes_at_submission, plan, seeds_for
from talweg.comparison.significance import differences
from talweg.errors import InvalidSpec
from talweg.spec import StudySpec

Make = Callable[..., Result]


def study(seeds: object, optimizers: int = 2) -> StudySpec:
    """That many optimizers with those seeds."""
    settings = [{"name": "sgd", "learning_rate": 0.1 + i} for i in range(optimizers)]
    return StudySpec.model_validate({"problem": "digits-mlp", "optimizers": settings, "seeds": seeds})


@pytest.mark.parametrize(("optimizers", "expected"), [(1, 10), (2, 10), (4, 10), (12, 12), (13, 10), (1000, 16)])
def test_auto_is_enough_for_every_comparison(optimizers: int, expected: int) -> None:
    spec = study("auto", optimizers)
    # 66 comparisons of 12 need 2 / 2^12 ≤ 0.05 / 66; 999 of a sweep 2 / 2^16 ≤ 0.05 / 999.
    assert len(spec.seed_list()) == expected
    assert notes_at_submission(spec) == []


def test_a_number_that_is_too_small_is_said_with_the_one_that_is_not() -> None:
    assert notes_at_submission(study(10)) == notes_at_submission(study(1, optimizers=1)) == []
    (one,) = notes_at_submission(study(1))
    assert "1 seed settles nothing" in one
    assert "6 can settle 1 comparison" in one
    (few,) = notes_at_submission(study(3, optimizers=4))
    assert "3 are too few for a rank test of 6 comparisons, which needs 8" in few


def test_the_formula_by_hand() -> None:
    # (t_{0.975, 9} + t_{0.8, 9})² (0.2 / 0.1)² π / 3.
    t = stats.t.ppf(0.975, 9) + stats.t.ppf(0.8, 9)
    assert seeds_for(0.1, 0.2, 9, 1) == math.ceil(t**2 * 4 * math.pi / 3)
    # No fewer than the rank test needs, however large the difference.
    assert seeds_for(10.0, 0.1, 9, 6) == 8
    assert seeds_for(0.0, 0.1, 9, 1) > 1000


def pilot(result: Make, random: np.random.Generator, spread: float, seeds: int = 3) -> list[Result]:
    """Two optimizers on some seeds, whose log costs differ by noise of that deviation."""
    return [
        replace(
            result(seed=seed),
            contender=position,
            problem="digits-mlp",
            evaluations={
                "validation": Evaluations(
                    np.array([0, 3]), np.array([2.3, 0.3 * math.exp(random.normal(0, spread / math.sqrt(2)))])
                )
            },
        )
        for seed in range(seeds)
        for position in range(2)
    ]


def test_a_planned_number_of_seeds_finds_the_difference(result: Make) -> None:
    random, found = np.random.default_rng(0), 0
    for _ in range(60):
        seeds = plan(compare(study(3), pilot(result, random, 0.1)), 0.1).seeds
        apart = random.normal(math.log(0.9), 0.1, min(seeds, 1000))
        (difference,) = differences(
            {"a": dict(enumerate(np.exp(apart).tolist())), "b": dict.fromkeys(range(len(apart)), 1.0)}
        )
        found += difference.settled == -1
    # 80 % less three standard errors of 60 studies.
    assert found / 60 > 0.8 - 3 * math.sqrt(0.16 / 60)


@pytest.mark.parametrize("difference", [0.0, 1.0, -0.1, math.nan])
def test_a_difference_that_is_none_is_refused(result: Make, difference: float) -> None:
    with pytest.raises(InvalidSpec, match="difference: must be above 0 % and below 100 %, got "):
        plan(compare(study(3), pilot(result, np.random.default_rng(0), 0.1)), difference)


def test_a_pilot_that_did_not_train_plans_nothing(result: Make) -> None:
    lost: list[Any] = [replace(run, stop_reason="diverged") for run in pilot(result, np.random.default_rng(0), 0.1)]
    with pytest.raises(InvalidSpec, match="two optimizers must end at costs above 0 on two seeds or more, got 0 on 0"):
        plan(compare(study(3), lost), 0.1)
