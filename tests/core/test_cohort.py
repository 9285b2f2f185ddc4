"""Runs in lock-step: the same bits alone or together, interrupted or not, with or without other calls."""

from typing import Any

import numpy as np
import pytest

from talweg_core import Cohort, optimizers, problems
from talweg_core.errors import InvalidCheckpoint, InvalidCohort
from talweg_core.layout import Array
from talweg_core.problems import Problem

PROBLEMS = ["digits-mlp", "wine-mlp", "diabetes-linear", "rosenbrock"]


def cohort(problem: Problem | str, rates: list[float], seeds: list[int], **settings: Any) -> Cohort:
    """Adam at these learning rates and seeds."""
    made = problems.create(problem) if isinstance(problem, str) else problem
    return Cohort(made, [optimizers.create("adam", learning_rate=rate) for rate in rates], seeds, **settings)


def trajectory(runs: Cohort, row: int, steps: int) -> tuple[list[float], Array]:
    """Costs and final parameters of one run."""
    costs = [float(record.costs[row]) for record in runs.run(steps)]
    return costs, runs.parameters[row].copy()


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_run_has_the_same_bits_alone_and_among_others(problem: str, precision: str) -> None:
    rates, seeds = [1e-3, 3e-3, 1e-2, 1e-3, 1e-3, 0.1, 1e-4], [5, 5, 5, 0, 1, 2, 3]
    together = cohort(problem, rates, seeds, precision=precision)
    costs = np.array([record.costs for record in together.run(30)])
    for row in (0, 2, 6):
        alone = cohort(problem, rates[row : row + 1], seeds[row : row + 1], precision=precision)
        alone_costs, alone_parameters = trajectory(alone, 0, 30)
        assert costs[:, row].tolist() == alone_costs
        assert np.array_equal(together.parameters[row], alone_parameters)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_run_restored_from_a_checkpoint_continues_to_the_same_bits(problem: str) -> None:
    whole = cohort(problem, [1e-2], [3])
    costs, parameters = trajectory(whole, 0, 100)
    first = cohort(problem, [1e-2], [3])
    for _ in first.run(43):
        pass
    second = cohort(problem, [1e-2], [3])
    second.restore(0, first.checkpoint(0))
    assert second.step == 43
    rest, resumed = trajectory(second, 0, 100)
    assert rest == costs[43:]
    assert np.array_equal(resumed, parameters)


def test_computing_the_gradient_changes_nothing() -> None:
    watched, unwatched = cohort("digits-mlp", [1e-3], [0]), cohort("digits-mlp", [1e-3], [0])
    for _ in range(20):
        before = watched.parameters.copy()
        watched.gradient()
        watched.costs(before + 1)
        watched.evaluate(0, "validation")
        watched.norms(before, watched.advance())
        unwatched.advance()
    assert np.array_equal(watched.parameters, unwatched.parameters)


def test_a_record_holds_the_cost_and_gradient_at_the_parameters_before_the_update() -> None:
    runs = cohort("two-layer-line", [0.25], [0])
    record = runs.advance()
    assert record.costs.tolist() == [3]
    # By hand, for C = |w₂ (w₁ x + b₁) + b₂| at (1, 0, 2, 0) and x = 1.5: w₂ x, w₂, w₁ x + b₁, 1.
    assert record.gradient.tolist() == [[3, 2, 1.5, 1]]
    # Adam's first update has the size of the learning rate.
    assert np.allclose(runs.parameters, [[0.75, -0.25, 1.75, -0.25]], atol=1e-6)


def test_raising_the_weight_to_two_gives_cost_six() -> None:
    problem = problems.create("two-layer-line", start=[2, 0, 2, 0])
    assert cohort(problem, [0.1], [0]).advance().costs.tolist() == [6]


def test_a_diverging_run_stops_alone() -> None:
    rates = [0.01, 1e30, 0.01]
    runs = cohort("rosenbrock", rates, [0, 0, 0])
    records = [(r.costs.copy(), r.stepped, r.diverged) for r in runs.run(20)]
    stopped = next(step for step, (_, _, diverged) in enumerate(records) if diverged[1])
    assert runs.stop_reasons == [None, "diverged", None]
    assert not np.isfinite(records[stopped][0][1])
    assert [stepped[1] for _, stepped, _ in records] == [True] * (stopped + 1) + [False] * (19 - stopped)
    alone = cohort("rosenbrock", rates[:1], [0])
    costs, parameters = trajectory(alone, 0, 20)
    assert [float(c[0]) for c, _, _ in records] == costs
    assert np.array_equal(runs.parameters[2], parameters)


def test_a_diverged_run_keeps_the_parameters_that_diverged() -> None:
    runs = cohort("rosenbrock", [1e30], [0])
    before = runs.parameters.copy()
    for record in runs.run(20):
        if record.diverged[0]:
            break
        before = runs.parameters.copy()
    assert np.array_equal(runs.parameters, before)
    assert runs.step == record.step + 1


def test_a_frozen_run_is_neither_updated_nor_recorded() -> None:
    runs = cohort("rosenbrock", [0.01, 0.01], [0, 0])
    runs.advance()
    runs.freeze(0, "cancelled")
    kept = runs.parameters[0].copy()
    record = runs.advance()
    assert record.stepped.tolist() == [False, True]
    assert np.array_equal(runs.parameters[0], kept)


def test_equal_seeds_give_every_optimizer_the_same_start_and_batches() -> None:
    problem = problems.create("digits-mlp")
    first = Cohort(problem, [optimizers.create("sgd")], [4])
    second = Cohort(problem, [optimizers.create("adam")], [4])
    assert np.array_equal(first.parameters, second.parameters)
    assert np.array_equal(first.batch(0, 77), second.batch(0, 77))


def test_norms_are_those_of_gradient_parameters_and_update() -> None:
    runs = cohort("wine-mlp", [1e-2, 1e-3], [0, 1])
    before = runs.parameters.copy()
    record = runs.advance()
    moved = before.copy()
    norms = runs.norms(moved, record)
    assert np.array_equal(moved, runs.parameters)
    layout = runs.problem.layout
    for quantity, flat in enumerate((record.gradient, before, runs.parameters - before)):
        for k, tensor in enumerate(layout.views(flat).values()):
            expected = [np.linalg.norm(tensor[row].astype(np.float64)) for row in range(2)]
            # The update is subtracted in float64 here and in float32 there.
            assert np.allclose(norms[quantity, :, k], expected, rtol=1e-4, atol=1e-12)


def test_training_lowers_the_cost_and_classifies() -> None:
    runs = cohort("digits-mlp", [3e-3], [0])
    costs, _ = trajectory(runs, 0, 400)
    assert np.mean(costs[-20:]) < 0.1 * costs[0]
    cost, accuracy = runs.evaluate(0, "validation")
    assert accuracy is not None
    assert accuracy > 0.9
    assert cost < 0.3


def test_runs_under_different_rules_do_not_share_a_cohort() -> None:
    with pytest.raises(InvalidCohort, match="a cohort runs one rule with the same choices, got adam and sgd"):
        Cohort(problems.create("rosenbrock"), [optimizers.create("adam"), optimizers.create("sgd")], [0, 0])


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(InvalidCohort, match="batch_size: must lie between 1 and the 124 training examples, got 125"):
        cohort("wine-mlp", [1e-3], [0], batch_size=125)


def test_a_checkpoint_of_another_problem_is_refused() -> None:
    with pytest.raises(InvalidCheckpoint, match="of this cohort"):
        cohort("rosenbrock", [1e-3], [0]).restore(0, cohort("quadratic", [1e-3], [0]).checkpoint(0))
