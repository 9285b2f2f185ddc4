"""Identities between optimizers, from their papers."""

from typing import Any

import numpy as np
import pytest

from talweg_core import Cohort, optimizers, problems
from talweg_core.errors import InvalidCohort
from talweg_core.layout import Array
from talweg_core.problems import SurfaceProblem
from talweg_core.problems.quadratic import quadratic


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


GRADIENTS = np.random.default_rng(7).normal(size=(12, 3)).tolist()


def moves(drive: Any, name: str, **settings: Any) -> Array:
    """The updates (12, 3) of a rule for those gradients."""
    points = drive(optimizers.create(name, **settings), [0.0, 0.0, 0.0], GRADIENTS)
    moved: Array = np.diff(np.array([[0.0, 0.0, 0.0], *points]), axis=0)
    return moved


def test_adam_without_first_moment_is_rmsprop_but_for_its_correction(drive: Any) -> None:
    """Kingma & Ba 2015, section 5: with β₁ = 0, RMSProp lacks the factor √(1 − β₂ᵗ), which goes to 1."""
    adam = moves(drive, "adam", learning_rate=0.01, beta1=0, beta2=0.9, epsilon=0)
    rmsprop = moves(drive, "rmsprop", learning_rate=0.01, rho=0.9, epsilon=0)
    lacking = np.sqrt(1 - 0.9 ** np.arange(1, 13))
    assert np.allclose(adam, rmsprop * lacking[:, None], rtol=1e-12, atol=0)


def test_adam_in_its_limit_is_adagrad(drive: Any) -> None:
    """Kingma & Ba 2015, section 5: β₁ = 0, 1 − β₂ infinitesimal, and η / √t for η."""
    adam = moves(drive, "adam", learning_rate=0.01, beta1=0, beta2=1 - 1e-8, epsilon=0)
    adagrad = moves(drive, "adagrad", learning_rate=0.01, epsilon=0)
    # 1 − β₂ᵗ keeps 8 digits, and the moving average is a mean up to t (1 − β₂).
    assert np.allclose(adam / np.sqrt(np.arange(1, 13))[:, None], adagrad, rtol=1e-6, atol=0)


def test_ademamix_without_its_slow_memory_is_adamw() -> None:
    found = trajectory("ademamix", alpha=0, weight_decay=0.1)
    assert np.allclose(found, trajectory("adamw", weight_decay=0.1), rtol=1e-13, atol=0)


def test_amsgrad_divides_by_the_largest_second_moment_so_far(drive: Any) -> None:
    """Reddi, Kale & Kumar 2018, algorithm 2: its update is never larger than Adam's with the same first moment."""
    adam, amsgrad = (moves(drive, name, beta2=0.5, epsilon=0) for name in ("adam", "amsgrad"))
    assert (np.abs(amsgrad) <= np.abs(adam) * (1 + 1e-12)).all()
    assert (np.abs(amsgrad) < np.abs(adam) * 0.99).any()


def test_amsgrad_is_adam_until_the_second_moment_shrinks(drive: Any) -> None:
    gradients = [[1.0], [2.0], [3.0], [0.1]]
    adam = drive(optimizers.create("adam"), [0.0], gradients)
    amsgrad = drive(optimizers.create("amsgrad"), [0.0], gradients)
    assert amsgrad[:3] == adam[:3]
    # From there on its denominator is constant, so its updates are smaller.
    assert amsgrad[2][0] > amsgrad[3][0] > adam[3][0]


BASES = sorted(n for n, kind in optimizers.catalogue().items() if kind.__module__.startswith("talweg_core"))


@pytest.mark.parametrize("name", BASES)
def test_sam_with_radius_0_is_its_base(name: str) -> None:
    around = [{"name": "sam", "rho": 0}]
    assert np.array_equal(trajectory(name, around=around, steps=15), trajectory(name, steps=15))


def test_sam_itself_with_radius_0_is_momentum_and_without_momentum_gradient_descent() -> None:
    assert np.array_equal(trajectory("sam", rho=0), trajectory("momentum"))
    assert np.array_equal(trajectory("sam", rho=0, momentum=0), trajectory("sgd"))


def test_sam_is_the_wrapper_around_momentum() -> None:
    around = [{"name": "sam", "rho": 0.1}]
    assert np.array_equal(trajectory("sam", rho=0.1), trajectory("momentum", around=around))


def test_decoupled_decay_around_adam_is_adamw() -> None:
    around = [{"name": "weight_decay", "coefficient": 0.1, "biases_and_norms": True}]
    # The decay is subtracted in another order: one rounding in each step.
    assert np.allclose(trajectory("adam", around=around), trajectory("adamw", weight_decay=0.1), rtol=1e-12, atol=0)


@pytest.mark.parametrize("outer", ["clip_norm", "sam"])
def test_clipping_bounds_the_uphill_gradient_of_sam_in_either_order(outer: str) -> None:
    around = [{"name": "clip_norm", "limit": 0.1}, {"name": "sam", "rho": 0.5}]
    around = around if outer == "clip_norm" else around[::-1]
    rule = optimizers.create("sgd", learning_rate=1.0, around=around)
    runs = Cohort(problems.create("rosenbrock"), [rule], [0], precision="float64")
    before = runs.parameters.copy()
    runs.advance()
    # The slope there is steep, so the bound is reached: limit · |g| / (|g| + 1e-6).
    assert np.linalg.norm(runs.parameters - before) == pytest.approx(0.1, rel=1e-6)


@pytest.mark.parametrize("name", ["sgd", "lbfgs", "sophia"])
def test_l2_around_a_rule_is_the_rule_on_the_cost_with_its_penalty(name: str) -> None:
    """½ Σ h x² with L2 is ½ Σ (h + λ) x²."""
    around = [{"name": "l2", "coefficient": 0.5}]
    curvatures = np.array([0.5, 1.0])
    bowl, steeper = (
        SurfaceProblem("bowl", quadratic, (1.0, -1.0), constants=(h,), minimiser=(0, 0))
        for h in (curvatures, curvatures + 0.5)
    )
    settings: dict[str, Any] = {"learning_rate": 0.1} | ({"every": 2, "gamma": 1.0} if name == "sophia" else {})
    paths = []
    for problem, rule in (
        (bowl, optimizers.create(name, around=around, **settings)),
        (steeper, optimizers.create(name, **settings)),
    ):
        runs = Cohort(problem, [rule], [0], precision="float64")
        for _ in runs.run(8):
            pass
        paths.append(runs.parameters[0].copy())
    # The Hessian by differences has ten correct digits.
    assert np.allclose(paths[0], paths[1], rtol=1e-8, atol=1e-12)


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


def test_an_average_is_kept_and_evaluated() -> None:
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
    """Adam's corrections count updates: its first update has the size of the learning rate at any step."""
    around = [{"name": "accumulate", "steps": 4}]
    runs = Cohort(problems.create("rosenbrock"), [optimizers.create("adam", around=around)], [0], precision="float64")
    start = runs.parameters.copy()
    for _ in range(3):
        runs.advance()
    assert np.array_equal(runs.parameters, start)
    runs.advance()
    # ε / |g| is below 1e-9 here.
    assert np.allclose(np.abs(runs.parameters - start), 1e-3, rtol=1e-8)


def test_runs_with_different_wrappers_do_not_share_a_cohort() -> None:
    rules = [optimizers.create("adam", around=[{"name": "average"}]), optimizers.create("adam")]
    with pytest.raises(InvalidCohort, match="one rule"):
        Cohort(problems.create("rosenbrock"), rules, [0, 0])


def test_lbfgs_is_refused_on_less_than_the_full_batch() -> None:
    with pytest.raises(InvalidCohort, match="lbfgs: batch_size must be all 124 training examples, got 16"):
        Cohort(problems.create("wine-mlp"), [optimizers.create("lbfgs")], [0], batch_size=16)
