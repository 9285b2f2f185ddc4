"""Ten situations, each with its sentence: what is known, what is not, what would settle it."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from talweg.comparison import Costs, Evaluations, Result, compare, guards, verdict
from talweg.comparison.results import Floats
from talweg.spec import StudySpec

START = 2.3


def study(names: Sequence[str], seeds: int, **changed: Any) -> StudySpec:
    """Optimizers of those names at one learning rate each."""
    optimizers = [{"name": name, "learning_rate": 0.1} for name in names]
    return StudySpec.model_validate(
        {"problem": "digits-mlp", "optimizers": optimizers, "seeds": seeds, "steps": 100} | changed
    )


def runs(position: int, name: str, costs: Sequence[float] | Floats, **changed: Any) -> list[Result]:
    """One run a seed, evaluated at its start and at its end; an infinite cost is a run that diverged."""
    made = []
    for seed, cost in enumerate(costs):
        lost = not np.isfinite(cost)
        plain = Result(
            run=f"{name}-{seed}",
            optimizer={"name": name, "learning_rate": 0.1},
            seed=seed,
            state="finished",
            stop_reason="diverged" if lost else "finished",
            costs=Costs.of(np.linspace(START, cost if not lost else 1e30, 100)),
            evaluations={"validation": Evaluations(np.array([0, 100]), np.array([START, cost]))},
            contender=position,
            problem="digits-mlp",
            steps=100,
        )
        made.append(replace(plain, **changed))
    return made


def noise(seed: int, count: int = 10, spread: float = 0.1) -> Floats:
    """Factors about 1, the same in every run of the suite."""
    return np.asarray(np.exp(np.random.default_rng(seed).normal(0, spread, count)))


def said(spec: StudySpec, results: Sequence[Result]) -> str:
    """The verdict."""
    comparison = compare(spec, results)
    return verdict(comparison, guards(comparison))


def test_a_clear_winner_is_named_with_by_how_much() -> None:
    text = said(study(["sgd", "adam"], 10), [*runs(0, "sgd", 0.4 * noise(0)), *runs(1, "adam", 0.2 * noise(1))])
    assert text.startswith("On digits-mlp adam reached a lower validation cost than sgd by 49 % (95 %: 45 to 53 %).")
    assert text.endswith(" %).")


def test_a_tie_says_what_was_seen_and_how_many_seeds_would_settle_it() -> None:
    text = said(study(["sgd", "adam"], 10), [*runs(0, "sgd", 0.4 * noise(0)), *runs(1, "adam", 0.4 * noise(1))])
    assert "had the lowest median validation cost, but is not shown to be better than" in text
    assert " times as much on average (95 %: " in text
    assert "within what the seeds alone produce" in text
    assert "seeds would settle this" in text


def test_a_narrow_tie_is_written_with_digits_that_differ() -> None:
    level = 0.4 * noise(0)
    text = said(study(["sgd", "adam"], 10), [*runs(0, "sgd", level), *runs(1, "adam", level * noise(1, spread=1e-4))])
    middle, low, high = re.findall(r"costs ([\d.]+) times as much on average \(95 %: ([\d.]+) to ([\d.]+)\)", text)[0]
    assert float(low) < float(middle) < float(high)


def test_few_seeds_get_an_answer_that_says_what_it_rests_on() -> None:
    text = said(study(["sgd", "adam"], 3), [*runs(0, "sgd", 2.0 * noise(0, 3)), *runs(1, "adam", 0.2 * noise(1, 3))])
    assert text.startswith("On digits-mlp adam reached a lower validation cost than sgd")
    assert "(By t test: there are too few seeds for a rank test.)" in text
    assert "3 seeds are too few for a rank test of 1 comparison, which needs 6" in text


def test_all_that_diverged_are_counted_and_none_is_called_better() -> None:
    text = said(study(["sgd", "adam"], 10), [*runs(0, "sgd", [np.inf] * 10), *runs(1, "adam", [1e6] * 10)])
    assert text.startswith(
        "On digits-mlp no optimizer trained on more than half of its seeds: sgd diverged on 10 of 10 seeds, adam ended "
        "far above its start on 10 of 10. Lower learning rates may train."
    )
    assert "lower validation cost" not in text


def test_one_that_diverged_on_every_seed_is_worse() -> None:
    text = said(study(["sgd", "adam"], 10), [*runs(0, "sgd", [np.inf] * 10), *runs(1, "adam", 0.2 * noise(1))])
    assert text.startswith("On digits-mlp adam reached a lower validation cost than sgd (diverged on 10 of 10 seeds).")


def test_one_that_ended_far_above_its_start_is_called_what_it_is() -> None:
    text = said(study(["sgd", "adam"], 10), [*runs(0, "sgd", [4.6e5] * 10), *runs(1, "adam", 0.2 * noise(1))])
    assert "than sgd (ended far above its start on 10 of 10)" in text
    assert "runs ended above their start: sgd 10 of 10, up to 2 × 10⁵ times" in text


def test_unequal_budgets_get_no_verdict() -> None:
    longer = runs(1, "adam", 0.2 * noise(1), steps=200)
    text = said(study(["sgd", "adam"], 10), [*runs(0, "sgd", 0.4 * noise(0)), *longer])
    assert text.startswith("No verdict: the comparison is not fair. On digits-mlp the optimizers had unequal steps")


def test_one_contender_is_compared_with_nothing() -> None:
    assert said(study(["sgd"], 10), runs(0, "sgd", 0.4 * noise(0))) == (
        "One optimizer alone: there is nothing to compare it with."
    )


def test_of_hundreds_it_is_said_which_are_not_the_best() -> None:
    rates = np.geomspace(1e-3, 1, 200)
    spec = study([], 14, optimizers=[{"name": "sgd", "learning_rate": float(rate)} for rate in rates])
    results = [
        run
        for i, rate in enumerate(rates)
        for run in runs(
            i, "sgd", (0.2 + np.log(rate / 0.1) ** 2) * noise(i, 14), optimizer={"name": "sgd", "learning_rate": rate}
        )
    ]
    comparison = compare(spec, results)
    text = verdict(comparison, guards(comparison))
    assert "had the lowest median validation cost of 200 settings" in text
    assert "of the others are shown not to be the best. Not told from it: sgd · learning_rate 0." in text
    assert len(comparison.problems[0].differences) == 199
    beaten = {difference.second for difference in comparison.problems[0].differences if difference.settled < 0}
    assert "sgd · learning_rate 0.001" in beaten
    # Within the noise of the best.
    near = min(range(200), key=lambda i: abs(np.log(rates[i] / 0.1)))
    assert comparison.contenders[near].label not in beaten


def test_where_the_seed_changes_nothing_costs_are_stated() -> None:
    text = said(study(["sgd", "adam"], 10), [*runs(0, "sgd", [0.4] * 10), *runs(1, "adam", [0.2] * 10)])
    assert text.startswith(
        "On digits-mlp the seed changes nothing; with these settings the validation costs are: adam 0.200, sgd 0.400."
    )


def test_a_winner_by_steps_that_loses_by_gradients_is_said() -> None:
    twice = np.tile([2, 0, 0], (100, 1))
    curve = Evaluations(np.array([0, 50, 100]), np.array([START, 1.0, 0.1]))
    sam = [
        replace(run, evaluations_made=twice, evaluations={"validation": replace_end(curve, run)})
        for run in runs(0, "sam", 0.1 * noise(0))
    ]
    text = said(study(["sgd", "adam"], 10), [*sam, *runs(1, "adam", 0.2 * noise(1))])
    assert "On digits-mlp sgd leads by steps, adam by gradient evaluations. Set clock: gradients" in text


def replace_end(curve: Evaluations, run: Result) -> Evaluations:
    """The curve, with the run's own end."""
    return replace(curve, costs=np.array([*curve.costs[:-1], run.evaluations["validation"].costs[-1]]))
