"""Unfair comparisons: each is refused, or marked next to the verdict."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from talweg.comparison import Evaluations, Guard, Result, compare, guards, verdict
from talweg.errors import InvalidSpec
from talweg.records import normalise_study
from talweg.spec import StudySpec, parse_study
from talweg.web.report_sections import Words, sections

Make = Callable[..., Result]
ADAM, SGD = {"name": "adam", "learning_rate": 0.1}, {"name": "sgd", "learning_rate": 0.1}


def spec(**changed: Any) -> StudySpec:
    """A study of Adam and SGD, with ten seeds."""
    plain = {"problem": "digits-mlp", "optimizers": [ADAM, SGD], "seeds": 10, "steps": 4, "schedule": "constant"}
    return StudySpec.model_validate(plain | changed)


@pytest.fixture
def runs(result: Make) -> list[Result]:
    """Adam at half of SGD's cost on each of ten seeds, judged before each of four steps and at the end."""

    def made(position: int, name: str, seed: int, factor: float) -> Result:
        costs = factor * np.array([8.0, 4.0, 3.0, 2.0, 1.0 + seed / 100])
        evaluations = {"validation": Evaluations(np.arange(5), costs)}
        plain = result(name, seed=seed, costs=costs[:4])
        return replace(plain, evaluations=evaluations, contender=position, steps=4, problem="digits-mlp")

    return [made(0, "adam", s, 1.0) for s in range(10)] + [made(1, "sgd", s, 2.0 + s / 50) for s in range(10)]


def found(study: StudySpec, results: list[Result], kind: str) -> Guard:
    """The guard of that kind; fails where it found nothing."""
    (guard,) = [guard for guard in guards(compare(study, results)) if guard.kind == kind]
    return guard


def words(study: StudySpec, results: list[Result]) -> str:
    """The verdict."""
    comparison = compare(study, results)
    return verdict(comparison, guards(comparison))


def test_a_fair_study_gets_its_verdict_and_no_guard(runs: list[Result]) -> None:
    comparison = compare(spec(), runs)
    assert guards(comparison) == []
    text = verdict(comparison, [])
    assert text.startswith("On digits-mlp adam reached a lower validation cost than sgd by 52 % (95 %: 5")
    assert [s.contender.label for s in comparison.problems[0].standings] == ["adam", "sgd"]


def test_twice_the_steps_are_refused(runs: list[Result]) -> None:
    cheated = [replace(run, steps=8) if run.contender == 1 else run for run in runs]
    guard = found(spec(), cheated, "unequal budgets")
    assert guard.level == "refused"
    assert "adam 4, sgd 8" in guard.text
    assert words(spec(), cheated).startswith("No verdict: the comparison is not fair.")
    first = sections(compare(spec(), cheated))[0].parts[0]
    assert isinstance(first, Words)
    assert first.tone == "refused"


def test_twice_the_gradients_a_step_are_marked_and_cut_off_where_gradients_are_the_clock(runs: list[Result]) -> None:
    twice = np.tile([2, 0, 0], (4, 1))
    cheated = [replace(run, evaluations_made=twice) if run.contender == 0 else run for run in runs]
    guard = found(spec(), cheated, "unequal evaluations")
    assert guard.level == "warning"
    assert "adam 2" in guard.text
    by_gradients = compare(spec(clock="gradients"), cheated)
    (problem,) = by_gradients.problems
    assert problem.budget == 4
    # Adam, at two gradients a step, has two steps for four: its cost there is 3, SGD's at the end 2 and more.
    scores = {s.contender.label: s.scores[0] for s in problem.standings}
    assert scores == {"adam": 3.0, "sgd": 2.0}
    cosine = spec(clock="gradients", schedule={"name": "cosine", "steps": 4})
    assert found(cosine, cheated, "cut schedules").contenders == ("adam",)


def test_more_settings_for_one_optimizer_are_marked(runs: list[Result]) -> None:
    study = spec(optimizers=[ADAM, SGD, {"name": "sgd", "learning_rate": 0.5}])
    assert "adam 1, sgd 2" in found(study, runs, "unequal tuning").text


def tuning(runs: list[Result], best: float, seeds: tuple[int, ...] = (10,)) -> list[Result]:
    """Tuning runs of both at 0.01, 0.1 and 1, of which SGD's best is as given and Adam's 0.1."""
    made = []
    for run in (runs[0], runs[10]):
        for rate in (0.01, 0.1, 1.0):
            cost = 0.5 if rate == (best if run.contender == 1 else 0.1) else 5.0
            evaluations = {"validation": Evaluations(np.array([0, 4]), np.array([9.0, cost]))}
            optimizer = {"name": run.optimizer["name"], "learning_rate": rate}
            made += [
                replace(run, optimizer=optimizer, evaluations=evaluations, stage="tuning", seed=seed) for seed in seeds
            ]
    return made


GRID = {"protocol": "grid", "grid": {"low": 0.01, "high": 1.0, "points": 3}}


def test_a_best_setting_at_the_edge_of_its_range_is_marked_and_limits_the_verdict(runs: list[Result]) -> None:
    inside = [*tuning(runs, best=0.1), *runs]
    assert guards(compare(spec(**GRID), inside)) == []
    edge = [*tuning(runs, best=1.0), *runs]
    guard = found(spec(**GRID), edge, "edge of the range")
    assert (guard.level, guard.contenders) == ("warning", ("sgd",))
    assert "1, is at the edge of the range tried (0.01 to 1)" in guard.text
    assert "The range tried was too narrow for sgd" in words(spec(**GRID), edge)


def test_the_edge_is_seen_in_a_list_of_settings_too(runs: list[Result]) -> None:
    rates = (0.1, 0.2, 0.4)
    study = spec(optimizers=[{"name": "adam", "learning_rate": rate} for rate in rates])
    listed = [
        replace(run, contender=i, optimizer=dict(ADAM, learning_rate=rate), seed=s, evaluations=run.evaluations)
        for i, rate in enumerate(rates)
        for s, run in enumerate([runs[0], runs[5]] if i == 0 else [runs[11 + i], runs[15]])
    ]
    assert found(study, listed, "edge of the range").contenders == ("adam",)


def test_seeds_shared_with_tuning_are_refused(runs: list[Result]) -> None:
    shared = [*tuning(runs, best=0.1, seeds=(3, 11)), *runs]
    found = [g for g in guards(compare(spec(**GRID), shared)) if g.kind == "seeds shared with tuning"]
    assert [g.level for g in found] == ["refused", "refused"]
    assert words(spec(**GRID), shared).startswith("No verdict")
    asked = {"problem": "digits-mlp", "optimizers": ["sgd"], "seeds": [3], "protocol": "grid", "grid": {"seeds": [3]}}
    with pytest.raises(InvalidSpec, match="must not be among the study's seeds"):
        normalise_study(parse_study(asked))


def test_too_few_seeds_for_a_rank_test_are_reported_with_the_basis_of_the_answer(runs: list[Result]) -> None:
    few = [run for run in runs if run.seed < 5]
    assert "5 seeds are too few for a rank test of 1 comparison, which needs 6" in (
        found(spec(seeds=5), few, "too few seeds").text
    )
    assert "(By t test: there are too few seeds for a rank test.)" in words(spec(seeds=5), few)
    one = [run for run in runs if run.seed == 0]
    assert "One seed settles nothing" in found(spec(seeds=1), one, "too few seeds").text
    assert "reached a lower" not in words(spec(seeds=1), one)


def test_ranks_that_change_during_the_runs_are_reported(runs: list[Result]) -> None:
    late = Evaluations(np.arange(5), np.array([8.0, 8.0, 8.0, 8.0, 0.1]))
    crossed = [replace(run, evaluations={"validation": late}) if run.contender == 0 else run for run in runs]
    guard = found(spec(), crossed, "changing ranks")
    assert guard.text.startswith("On digits-mlp sgd led at 75% of the budget, adam at its end")


def test_another_leader_by_early_stopping_is_reported(runs: list[Result]) -> None:
    dip = Evaluations(np.arange(5), np.array([8.0, 8.0, 0.01, 8.0, 8.0]))
    noisy = [replace(run, evaluations={"validation": dip}) if run.contender == 1 else run for run in runs]
    guard = found(spec(), noisy, "early stopping")
    assert "sgd had the lowest validation cost during the run, adam at the end" in guard.text


def test_divergence_is_counted_and_never_averaged_in(runs: list[Result]) -> None:
    lost = [
        replace(run, stop_reason="diverged") if run.contender == 1 and run.seed in (2, 5, 7) else run for run in runs
    ]
    assert "sgd 3 of 10" in found(spec(), lost, "divergence").text
    (problem,) = compare(spec(), lost).problems
    sgd = problem.standings[1]
    assert (sgd.complete, sgd.diverged) == (7, 3)
    assert sgd.mean is not None
    assert math.isfinite(sgd.mean.high)
    (difference,) = problem.differences
    assert (difference.pairs, difference.measured, difference.settled) == (10, 7, -1)


def test_an_unfinished_study_is_reported(runs: list[Result]) -> None:
    going = [replace(run, state="running") if run.seed == 9 else run for run in runs]
    assert "2 running" in found(spec(), going, "unfinished").text
    waiting = [replace(run, state="queued", costs=run.costs.until(0), evaluations={}) for run in runs]
    assert words(spec(), waiting).startswith("No verdict yet")


def test_identical_runs_are_one_measurement(runs: list[Result]) -> None:
    alike = [replace(run, evaluations=runs[10 * (run.contender or 0)].evaluations) for run in runs]
    assert "the seed changes nothing" in found(spec(), alike, "nothing random").text
    text = words(spec(), alike)
    assert text.endswith("with these settings the validation costs are: adam 1.00, sgd 2.00.")
    # A test over copies of one run must not call an optimizer better.
    assert "better" not in text


def test_pruned_trials_are_reported_and_count_as_neither_failed_nor_diverged(runs: list[Result]) -> None:
    """Each seed has a second trial, the best one after half of the steps, which ended there."""
    pruned = [
        replace(
            run, run=f"{run.run}-1", trial=1, stop_reason="pruned", costs=run.costs.until(2), evaluations=early(run)
        )
        for run in runs
    ]
    study = normalise_study(
        spec(protocol="search", steps=9, search={"trials": 2, "pruning": {"factor": 3, "rungs": 1}})
    )
    results = [replace(run, trial=0) for run in runs] + pruned
    guard = found(study, results, "pruned")
    assert guard.level == "note"
    assert guard.text.startswith("20 of 40 trials were pruned by successive halving, by the same rule")
    assert "whether and when 20 of these trials would have met the target" in guard.text
    comparison = compare(study, results)
    assert [(s.complete, s.pruned, s.diverged) for s in comparison.problems[0].standings] == [(10, 10, 0)] * 2
    assert comparison.problems[0].standings[0].scores[0] == 1.0
    assert not {"divergence", "unfinished"} & {guard.kind for guard in guards(comparison)}
    (last,) = [part for part in sections(comparison)[-1].parts if "Successive" in getattr(part, "text", "")]
    assert "first after 1 / 3 of the steps, the best 1 / 3 of a seed's trials went on" in getattr(last, "text", "")


def early(run: Result) -> dict[str, Evaluations]:
    """The evaluations of a run up to half of its steps, at half of their costs."""
    whole = run.evaluations["validation"]
    return {"validation": Evaluations(whole.steps[:3], whole.costs[:3] / 2)}


def test_the_best_of_many_settings_looks_better_than_it_is(result: Make) -> None:
    """Twenty settings that are equal: the best of them by ten seeds is the best by luck."""
    random = np.random.default_rng(0)
    settings = [{"name": "sgd", "learning_rate": 0.1 + i} for i in range(20)]
    runs = [
        replace(
            result("sgd", seed=seed, learning_rate=0.1 + i),
            contender=i,
            problem="digits-mlp",
            steps=4,
            evaluations={"validation": Evaluations(np.array([0, 4]), np.array([2.3, math.exp(random.normal(0, 0.2))]))},
        )
        for i in range(20)
        for seed in range(10)
    ]
    text = found(spec(optimizers=settings), runs, "best of many").text
    assert "is the best of 20 settings, by the same seeds that judge it" in text
    # Of 20 medians of 5 seeds the least is about 1.87 × 1.25 × 0.2 / √5 ≈ 0.21 below their mean.
    bias = float(text.partition("costs ")[2].partition(" %")[0])
    assert 10 < bias < 40
    few = [run for run in runs if run.contender in (0, 1)]
    kinds = {guard.kind for guard in guards(compare(spec(optimizers=settings[:2]), few))}
    assert "best of many" not in kinds
