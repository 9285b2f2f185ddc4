"""What the rules are to one another, as their papers say."""

from typing import Any

import numpy as np
import pytest

from talweg_core import Cohort, optimizers, problems
from talweg_core.errors import InvalidCohort
from talweg_core.layout import Array


def trajectory(name: str, problem: str = "wine-mlp", steps: int = 40, **settings: Any) -> Array:
    """Parameters (P,) of one float64 run after `steps`."""
    runs = Cohort(problems.create(problem), [optimizers.create(name, **settings)], [0], precision="float64")
    for _ in runs.run(steps):
        pass
    final: Array = runs.parameters[0].copy()
    return final


@pytest.mark.parametrize("name", ["momentum", "nesterov"])
def test_without_momentum_it_is_gradient_descent(name: str) -> None:
    assert np.array_equal(trajectory(name, learning_rate=0.1, momentum=0), trajectory("sgd", learning_rate=0.1))


def test_adamw_without_decay_is_adam() -> None:
    assert np.array_equal(trajectory("adamw", weight_decay=0), trajectory("adam"))


def test_adam_without_first_moment_is_rmsprop_once_its_correction_has_faded() -> None:
    """Adam with β₁ = 0 differs from RMSProp by √(1 − β₂ᵗ) alone, which is 1 from the start where β₂ = 0."""
    adam = trajectory("adam", beta1=0, beta2=0, epsilon=0.1)
    # One rounding a step in another place: η / (1 − 0) against η.
    assert np.allclose(adam, trajectory("rmsprop", learning_rate=1e-3, rho=0, epsilon=0.1), rtol=1e-13, atol=0)


def test_amsgrad_is_adam_until_the_second_moment_shrinks(drive: Any) -> None:
    gradients = [[1.0], [2.0], [3.0], [0.1]]
    adam = drive(optimizers.create("adam"), [0.0], gradients)
    amsgrad = drive(optimizers.create("amsgrad"), [0.0], gradients)
    assert amsgrad[:3] == adam[:3]
    # From there on its denominator stays, so it moves less.
    assert amsgrad[2][0] > amsgrad[3][0] > adam[3][0]


def test_sam_with_radius_0_is_its_base() -> None:
    around = [{"name": "sam", "rho": 0}]
    for name in ("sgd", "adam", "muon", "prodigy"):
        assert np.array_equal(trajectory(name, around=around), trajectory(name)), name
    assert np.array_equal(trajectory("sam", rho=0), trajectory("momentum"))


def test_sam_is_what_stands_around_momentum() -> None:
    around = [{"name": "sam", "rho": 0.1}]
    assert np.array_equal(trajectory("sam", rho=0.1), trajectory("momentum", around=around))


def test_decoupled_decay_around_adam_is_adamw() -> None:
    around = [{"name": "weight_decay", "coefficient": 0.1, "biases_and_norms": True}]
    # The decay is taken off in another order: a rounding a step.
    assert np.allclose(trajectory("adam", around=around), trajectory("adamw", weight_decay=0.1), rtol=1e-12, atol=0)


def test_decay_leaves_biases_alone_unless_asked() -> None:
    problem = problems.create("wine-mlp")
    decayed = Cohort(problem, [optimizers.create("sgd", around=[{"name": "weight_decay"}])], [0], precision="float64")
    plain = Cohort(problem, [optimizers.create("sgd")], [0], precision="float64")
    decayed.advance()
    plain.advance()
    views = problem.layout.views(decayed.parameters), problem.layout.views(plain.parameters)
    for name in problem.layout.names:
        assert np.array_equal(views[0][name], views[1][name]) == name.endswith(".bias")


def test_clipping_beyond_reach_and_one_batch_an_update_change_nothing() -> None:
    for around in ([{"name": "clip_value", "limit": 1e9}], [{"name": "accumulate", "steps": 1}]):
        assert np.array_equal(trajectory("adam", around=around), trajectory("adam"))


def test_an_average_is_kept_beside_and_judged() -> None:
    around = [{"name": "average", "decay": 0.75}]
    problem = problems.create("wine-mlp")
    runs = Cohort(problem, [optimizers.create("adam", around=around)], [0], precision="float64")
    assert np.array_equal(runs.evaluation_parameters, runs.parameters)
    average = None
    for _ in range(9):
        runs.advance()
        average = runs.parameters if average is None else 0.75 * average + 0.25 * runs.parameters
        average = average.copy()
        assert np.allclose(runs.evaluation_parameters, average, rtol=1e-14, atol=0)
    assert average is not None
    assert runs.evaluate(0, "validation") == problem.evaluate(average[0], "validation")
    assert np.array_equal(runs.parameters[0], trajectory("adam", steps=9))


def test_the_rule_counts_its_own_updates_when_gradients_accumulate() -> None:
    """Adam's corrections are by updates: its first one has the size of the learning rate whenever it comes."""
    around = [{"name": "accumulate", "steps": 4}]
    runs = Cohort(problems.create("rosenbrock"), [optimizers.create("adam", around=around)], [0], precision="float64")
    start = runs.parameters.copy()
    for _ in range(3):
        runs.advance()
    assert np.array_equal(runs.parameters, start)
    runs.advance()
    # ε / |g| is below 1e-9 here.
    assert np.allclose(np.abs(runs.parameters - start), 1e-3, rtol=1e-8)


def test_runs_in_different_surroundings_do_not_share_a_cohort() -> None:
    rules = [optimizers.create("adam", around=[{"name": "average"}]), optimizers.create("adam")]
    with pytest.raises(InvalidCohort, match="one rule"):
        Cohort(problems.create("rosenbrock"), rules, [0, 0])


def test_lbfgs_is_refused_on_less_than_the_full_batch() -> None:
    with pytest.raises(InvalidCohort, match="lbfgs: batch_size must be all 124 training examples, got 16"):
        Cohort(problems.create("wine-mlp"), [optimizers.create("lbfgs")], [0], batch_size=16)
