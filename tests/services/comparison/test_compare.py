"""A whole study by hand: two problems, two optimizers, two seeds."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from talweg.comparison import Comparison, Evaluations, Result, compare, guards, verdict
from talweg.comparison.compare import leaders
from talweg.comparison.scores import Table
from talweg.figures.study_figures import draw
from talweg.spec import StudySpec
from talweg.web.report_sections import Charts, Picture, Words, sections

Make = Callable[..., Result]

SPEC = StudySpec.model_validate(
    {
        "problems": [{"problem": "digits-mlp", "target": {"cost": 1.0}}, "wine-mlp"],
        "optimizers": ["adam", "sgd"],
        "protocol": "search",
        "search": {"trials": 2, "points": [[{"learning_rate": 0.5}], [{"learning_rate": 0.25}]]},
        "seeds": 2,
        "steps": 8,
    }
)
# Judged costs at steps 0, 2, 4, 6, 8, by problem, optimizer, seed and trial.
JUDGED = {
    # Adam is at 1.0 or below from step 2 with either seed's better trial, SGD from step 4 and never.
    ("digits-mlp", 0, 0): ([9, 5, 5, 5, 5], [9, 1, 0.5, 0.5, 0.5]),
    ("digits-mlp", 0, 1): ([9, 0.9, 0.8, 0.8, 0.7], [9, 9, 9, 9, 0.9]),
    ("digits-mlp", 1, 0): ([9, 3, 1, 1, 1], [9, 9, 9, 9, 9]),
    ("digits-mlp", 1, 1): ([9, 9, 9, 9, 2], [9, 9, 9, 3, 3]),
    # The target is found: within six steps Adam's bests are 4 and 2, SGD's 1 and 2: the higher medians 4 and 2.
    ("wine-mlp", 0, 0): ([9, 8, 6, 4, 1.5], [9, 9, 9, 9, 9]),
    ("wine-mlp", 0, 1): ([9, 8, 4, 2, 1.5], [9, 9, 9, 9, 9]),
    ("wine-mlp", 1, 0): ([9, 1, 1, 1, 1], [9, 9, 9, 9, 9]),
    ("wine-mlp", 1, 1): ([9, 9, 3, 2, 1.5], [9, 9, 9, 9, 9]),
}


@pytest.fixture
def comparison(result: Make) -> Comparison:
    """The comparison of the runs above."""
    runs = []
    for (problem, contender, seed), trials in JUDGED.items():
        for trial, costs in enumerate(trials):
            made = result(SPEC.optimizers[contender].name, seed=seed, costs=[1.0] * 8)
            evaluations = {"validation": Evaluations(np.array([0, 2, 4, 6, 8]), np.array(costs, dtype=float))}
            runs.append(
                replace(made, evaluations=evaluations, problem=problem, contender=contender, trial=trial, steps=8)
            )
    return compare(SPEC, runs)


def test_the_best_trial_of_each_seed_counts(comparison: Comparison) -> None:
    digits, wine = comparison.problems
    adam, sgd = digits.standings
    assert (adam.contender.label, dict(adam.scores), dict(adam.times)) == ("adam", {0: 0.5, 1: 0.7}, {0: 2, 1: 2})
    assert (dict(sgd.scores), dict(sgd.times)) == ({0: 1, 1: 2}, {0: 4, 1: math.inf})
    assert (sgd.median, sgd.time, sgd.arrived) == (1.5, math.inf, 1)
    assert digits.target_rule == "given"
    assert wine.target == 2.0
    assert wine.target_rule.startswith("found: the best of all optimizers")
    assert [dict(s.times) for s in wine.standings] == [{0: 2, 1: 6}, {0: 8, 1: 6}]


def test_profile_scores_are_of_the_median_times(comparison: Comparison) -> None:
    # Adam 2 and 7, SGD ∞ and 4: ratios 1 and 1.75, ∞ and 1.
    first, second = comparison.scores
    assert (first.contender.label, second.contender.label) == ("adam", "sgd")
    assert first.score.estimate == pytest.approx((1 + 2.25 / 3) / 2, rel=1e-12)
    assert second.score.estimate == pytest.approx(0.5, rel=1e-12)
    assert (first.arrived, second.arrived) == (2, 1)
    # Both solved the second problem alone: 7 / 4.
    assert second.speed_up == pytest.approx((1.75, 1), rel=1e-12)
    assert first.score.low <= first.score.estimate <= first.score.high


def test_each_seed_is_a_study_of_its_own_in_the_comparison_of_scores(comparison: Comparison) -> None:
    (difference,) = comparison.overall
    # Seed 0: Adam 2 against 4 and 8 against 2, so 1 and 0 against 2/3 and 1. Seed 1: 2 against ∞ and 6 against 6.
    assert difference.interval is not None
    assert difference.interval.estimate == pytest.approx(-np.mean([1 / 2 - (2 / 3 + 1) / 2, 1 - 1 / 2]), rel=1e-12)
    (improvement,) = comparison.improvements
    # On digits all pairs are Adam's; on wine 1 against 1.5 loses, 1.5 against 1.5 is a tie: (0 + 0 + ½ + ½) / 4.
    assert improvement.estimate == pytest.approx((1 + 0.25) / 2, rel=1e-12)


def test_the_expected_best_of_two_trials_is_tabled(comparison: Comparison) -> None:
    curve = comparison.problems[0].trials["adam"]
    # Seed 0: 5 and 0.5, seed 1: 0.7 and 0.9; of one trial their means, of two the better; then the median.
    assert curve == pytest.approx([(2.75 + 0.8) / 2, (0.5 + 0.7) / 2], rel=1e-12)


def test_two_seeds_settle_nothing(comparison: Comparison) -> None:
    text = verdict(comparison, guards(comparison))
    assert "Between adam and sgd nothing is settled." in text
    assert "2 seeds are too few for a rank test of 1 comparison" in text


def test_the_same_runs_give_the_same_report(comparison: Comparison) -> None:
    again = compare(SPEC, comparison.results)
    assert [s.parts for s in sections(again)] == [s.parts for s in sections(comparison)]


def test_every_figure_of_a_report_is_drawn(comparison: Comparison) -> None:
    found = sections(comparison, lambda kind: draw(comparison, kind))
    parts = [part for section in found for part in section.parts]
    stills = [part.still for part in parts if isinstance(part, Charts)]
    pictures = [part for part in parts if isinstance(part, Picture)]
    assert (len(pictures), len(stills)) == (1, 1)
    pictures += stills
    for picture in pictures:
        assert picture.svg.startswith(b"<?xml")
    tables = [part for section in found for part in section.parts if isinstance(part, Table)]
    for table in tables:
        assert {len(row) for row in table.rows} == {len(table.head)} == {len(table.numeric)}


def test_a_tuned_study_draws_its_learning_rates(result: Make) -> None:
    spec = StudySpec.model_validate(
        {"problem": "rosenbrock", "optimizers": ["sgd"], "protocol": "grid", "seeds": 1, "steps": 3}
    )
    tuning = [
        replace(result("sgd", costs=[5, 3, cost], seed=1), optimizer={"name": "sgd", "learning_rate": rate}, stage=s)
        for rate, cost, s in ((0.1, 2.0, "tuning"), (1.0, 1.0, "tuning"), (10.0, 1.5, "tuning"))
    ]
    lost = replace(tuning[2], optimizer={"name": "sgd", "learning_rate": 100.0}, stop_reason="diverged")
    found = compare(spec, [replace(r, contender=0, problem="rosenbrock") for r in [*tuning, lost]])
    (sgd,) = found.problems[0].tunings
    assert (sgd.rates, sgd.costs, sgd.best) == ((0.1, 1.0, 10.0, 100.0), (2.0, 1.0, 1.5, math.inf), 1.0)
    # From the start at 5: (1 + 0 + 0.5 + 4) / 4.
    assert sgd.sensitivity == pytest.approx(5.5 / 4, rel=1e-12)
    assert draw(found, "sensitivities").startswith(b"<?xml")


def test_of_many_contenders_the_report_shows_the_best(result: Make) -> None:
    rates = [0.1 * (1 + i) for i in range(30)]
    spec = StudySpec.model_validate(
        {
            "problem": "digits-mlp",
            "optimizers": [{"name": "sgd", "learning_rate": rate} for rate in rates],
            "seeds": 3,
            "steps": 2,
        }
    )
    runs = [
        replace(result("sgd", seed=seed, costs=[99, 30 - position + seed / 10]), contender=position)
        for position in range(30)
        for seed in range(3)
    ]
    whole = compare(spec, runs)
    few = leaders(whole)
    assert [c.position for c in few.contenders] == list(range(18, 30))
    assert [s.contender.position for s in few.problems[0].standings] == list(range(29, 17, -1))
    assert {label for d in few.problems[0].differences for label in (d.first, d.second)} <= {
        c.label for c in few.contenders
    }
    assert few.problems[0].along[1.0] == whole.problems[0].along[1.0][:12]
    first, results, *_ = sections(whole)
    assert first.parts[-1] == Words("Below are the best 12 of 30 settings; the table standings has all.", "note")
    (standings, pairs) = [part for part in results.parts if isinstance(part, Table)]
    assert (len(standings.rows), len(pairs.rows)) == (12, 11)
    assert leaders(few) is few
