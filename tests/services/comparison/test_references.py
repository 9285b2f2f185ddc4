"""Scores against public implementations; references/generate.py made their numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talweg.comparison.intervals import interquartile_mean, optimality_gap, probability_of_improvement
from talweg.comparison.profiles import R_MAX, expected_best, profile_scores

NUMBERS: dict[str, Any] = json.loads((Path(__file__).parent / "references" / "numbers.json").read_text())
# Sums of at most 80 numbers of size 1, in another order.
ROUNDING = 1e-12


@pytest.mark.parametrize("case", NUMBERS["aggregates"], ids=lambda case: f"{np.shape(case['first'])}")
def test_aggregates_are_those_of_rliable(case: dict[str, Any]) -> None:
    first, second = np.array(case["first"]), np.array(case["second"])
    assert interquartile_mean(first) == pytest.approx(case["interquartile_mean"], abs=ROUNDING)
    assert optimality_gap(first) == pytest.approx(case["optimality_gap"], abs=ROUNDING)
    found = probability_of_improvement(first.T.tolist(), second.T.tolist())
    assert found == pytest.approx(case["probability_of_improvement"], abs=ROUNDING)


@pytest.mark.parametrize("case", NUMBERS["expected_best"], ids=lambda case: f"{len(case['values'])}")
@pytest.mark.parametrize("replace", [True, False])
def test_the_expected_best_of_k_is_that_of_opda(case: dict[str, Any], replace: bool) -> None:
    known = case["with_replacement" if replace else "without_replacement"]
    assert expected_best(case["values"], replace=replace) == pytest.approx(known, abs=ROUNDING)


def test_profile_scores_are_those_of_algoperf_to_the_width_of_a_trapezoid() -> None:
    case = NUMBERS["profiles"]
    # Each of the 8 problems' steps may lie anywhere in its trapezoid.
    width = (R_MAX - 1) / (case["points"] - 1)
    found = profile_scores(case["times"])
    assert found == pytest.approx(case["scores"], abs=width / (R_MAX - 1))
    assert len(set(found)) == 4
