"""Scores on one scale, against numbers worked out by hand."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from talweg.comparison import Evaluations, Result, compare
from talweg.comparison.normalised import aggregates
from talweg.spec import StudySpec
from talweg.web.report_sections import sections

Make = Callable[..., Result]
SPEC = StudySpec.model_validate(
    {
        "problem": "digits-mlp",
        "optimizers": [{"name": "adam", "learning_rate": 0.1}, {"name": "sgd", "learning_rate": 0.1}],
        "seeds": 4,
        "steps": 2,
    }
)


def made(result: Make, position: int, finals: list[float], **changed: Any) -> list[Result]:
    """Runs that start at a cost of 16, with these costs at their end; an infinite one diverged."""
    return [
        replace(
            result(
                SPEC.optimizers[position].name, seed=seed, stop_reason="diverged" if math.isinf(last) else "finished"
            ),
            contender=position,
            problem="digits-mlp",
            steps=2,
            evaluations={"validation": Evaluations(np.array([0, 2]), np.array([16.0, last]))},
            **changed,
        )
        for seed, last in enumerate(finals)
    ]


def test_scores_by_hand(result: Make) -> None:
    # Adam's median is 1, the best: log₂ costs 4 at the start, 0 there. SGD: log₂ 2, 2, 4 and a run that diverged.
    runs = made(result, 0, [1.0, 1.0, 1.0, 1.0]) + made(result, 1, [4.0, 4.0, 16.0, math.inf])
    adam, sgd = aggregates(compare(SPEC, runs))
    assert (adam.contender.label, sgd.contender.label) == ("adam", "sgd")
    assert adam.interquartile_mean.estimate == pytest.approx(1.0)
    assert adam.optimality_gap.estimate == pytest.approx(0.0)
    # Scores ½, ½, 0, 0: the middle two are ½ and 0, the mean shortfall of 1 is ¾.
    assert sgd.interquartile_mean.estimate == pytest.approx(0.25)
    assert sgd.optimality_gap.estimate == pytest.approx(0.75)
    assert adam.improvement is not None
    assert adam.improvement.estimate == 1.0
    assert sgd.improvement is not None
    assert (sgd.improvement.estimate, sgd.improvement.high) == (0.0, 0.0)
    assert 0 <= sgd.interquartile_mean.low <= 0.25 <= sgd.interquartile_mean.high <= 0.5


def test_costs_below_zero_are_scored_as_they_are(result: Make) -> None:
    runs = made(result, 0, [-4.0] * 4) + made(result, 1, [6.0, 6.0, 6.0, 20.0])
    adam, sgd = aggregates(compare(SPEC, runs))
    # From 16 down to −4 are 20: sgd came 10 of them, and once ended above its start.
    assert sgd.optimality_gap.estimate == pytest.approx(1 - (0.5 + 0.5 + 0.5 + 0) / 4)
    assert adam.optimality_gap.estimate == pytest.approx(0.0)


def test_without_a_cost_of_the_start_there_are_no_scores(result: Make) -> None:
    late = {"validation": Evaluations(np.array([2]), np.array([1.0]))}
    runs = [replace(run, evaluations=late) for run in made(result, 0, [1.0] * 4) + made(result, 1, [2.0] * 4)]
    comparison = compare(SPEC, runs)
    assert aggregates(comparison) == []
    assert "Aggregate scores" not in [section.title for section in sections(comparison)]


def test_the_report_has_them(result: Make) -> None:
    runs = made(result, 0, [1.0, 1.1, 1.2, 1.0]) + made(result, 1, [4.0, 4.0, 16.0, 5.0])
    (section,) = [s for s in sections(compare(SPEC, runs)) if s.title == "Aggregate scores"]
    assert [row[1].text for row in section.parts[0].rows] == ["adam", "sgd"]  # type: ignore[union-attr]
