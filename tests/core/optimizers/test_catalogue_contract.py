"""The contract of every optimizer of the catalogue: a new one is tested by being listed."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from talweg_core import Cohort, optimizers, problems, schedules
from talweg_core.optimizers import Optimizer
from talweg_core.optimizers.base import Interval
from talweg_core.problems import SurfaceProblem

EVERYTHING: list[dict[str, Any]] = [
    {"name": "accumulate", "steps": 3},
    {"name": "clip_norm", "limit": 0.5},
    {"name": "clip_value", "limit": 0.1},
    {"name": "l2"},
    {"name": "weight_decay"},
    {"name": "average", "decay": 0.9},
    {"name": "average", "decay": 0.5},
    {"name": "sam"},
]
# Variants of rules, and rules with wrappers.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "rmsprop centred": ("rmsprop", {"centred": True, "momentum": 0.5}),
    "muon unscaled": ("muon", {"nesterov": False, "scale": "match_rms_adamw", "iterations": 3}),
    "shampoo seldom": ("shampoo", {"every": 3, "momentum": 0.5}),
    "soap often": ("soap", {"every": 1}),
    "sophia often": ("sophia", {"every": 2}),
    "lbfgs short": ("lbfgs", {"history": 2}),
    "adam in everything": ("adam", {"around": EVERYTHING}),
    "sam around lbfgs": ("lbfgs", {"around": [{"name": "l2", "coefficient": 0.01}, {"name": "sam", "rho": 1e-3}]}),
    "sophia with l2": ("sophia", {"every": 3, "around": [{"name": "l2", "coefficient": 0.1}]}),
    "adam cautious": ("adam", {"around": [{"name": "weight_decay"}, {"name": "cautious"}]}),
    "lion with grokfast": ("lion", {"around": [{"name": "grokfast"}]}),
    "momentum with lookahead": ("momentum", {"around": [{"name": "lookahead", "steps": 3}]}),
    "nadam with swa": ("nadam", {"around": [{"name": "swa", "start": 4, "every": 2}]}),
    "adam at two rates": ("adam", {"around": [{"name": "tensor_rate", "tensors": "*", "times": 0.5}]}),
    "schedule-free averaged": (
        "schedule_free_sgd",
        {"learning_rate": 0.01, "around": [{"name": "average", "decay": 0.9}]},
    ),
}
NAMES = [*optimizers.names(), *VARIANTS]
PROBLEM = problems.create("wine-mlp")


def made(name: str, **settings: Any) -> Optimizer:
    """The optimizer with its defaults, or its variant's settings, and the given settings."""
    kind, changed = VARIANTS.get(name, (name, {}))
    return optimizers.create(kind, **changed | settings)


def cohort(name: str, rates: list[float], seeds: list[int], **settings: Any) -> Cohort:
    """A cohort of runs that differ in learning rate and seed."""
    return Cohort(PROBLEM, [made(name, learning_rate=rate) for rate in rates], seeds, **settings)


def finish(runs: Cohort, steps: int) -> None:
    """Advance to `steps`."""
    for _ in runs.run(steps):
        pass


def rates(name: str) -> list[float]:
    """Three learning rates around the default."""
    default = made(name).learning_rate
    return [default, default / 3, default / 7]


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_a_run_has_the_same_bits_alone_and_among_others(name: str, precision: str) -> None:
    together = cohort(name, rates(name), [5, 0, 5], precision=precision)
    finish(together, 12)
    for row, seed in enumerate([5, 0, 5]):
        alone = cohort(name, rates(name)[row : row + 1], [seed], precision=precision)
        finish(alone, 12)
        assert np.array_equal(together.parameters[row], alone.parameters[0])
        for key, state in together.state.items():
            assert np.array_equal(state[row], alone.state[key][0]), key


def varied(name: str, share: float) -> Optimizer:
    """Every number in which runs may differ changed by a share of its range; also those of wrappers."""

    def moved(settings: Any) -> dict[str, Any]:
        numbers: dict[str, Any] = {}
        for field in settings.ranged():
            allowed, value = field.metadata["range"], getattr(settings, field.name)
            if not isinstance(allowed, Interval) or field.metadata.get("shared"):
                continue
            if allowed.whole:
                numbers[field.name] = value + round(4 * share)
            elif math.isfinite(allowed.high):
                # Decays are close to 1, lower bounds close to 0.
                numbers[field.name] = value * (1 - 0.1 * share)
            else:
                numbers[field.name] = value * (1 + share)
        return numbers

    rule = made(name)
    around = tuple(dataclasses.replace(one, **moved(one)) for one in rule.around)
    return dataclasses.replace(rule, **moved(rule), around=around)


@pytest.mark.parametrize("name", NAMES)
def test_every_run_follows_its_own_hyperparameters(name: str) -> None:
    rules = [varied(name, share) for share in (0.0, 0.5, 1.0)]
    together = Cohort(PROBLEM, rules, [2, 2, 2], precision="float64")
    finish(together, 12)
    for row, rule in enumerate(rules):
        alone = Cohort(PROBLEM, [rule], [2], precision="float64")
        finish(alone, 12)
        assert np.array_equal(together.parameters[row], alone.parameters[0])
    assert len({row.tobytes() for row in together.parameters}) == 3


@pytest.mark.parametrize("name", NAMES)
def test_a_run_restored_from_a_checkpoint_continues_to_the_same_bits(name: str) -> None:
    whole = cohort(name, rates(name)[:2], [3, 4])
    finish(whole, 7)
    kept = [whole.checkpoint(row) for row in range(2)]
    finish(whole, 21)
    resumed = cohort(name, rates(name)[1::-1], [4, 3])
    # The earlier state must have no effect.
    finish(resumed, 3)
    resumed.restore(0, kept[1])
    resumed.restore(1, kept[0])
    finish(resumed, 21)
    assert np.array_equal(resumed.parameters, whole.parameters[::-1])
    assert [resumed.checkpoint(0), resumed.checkpoint(1)] == [whole.checkpoint(1), whole.checkpoint(0)]


@pytest.mark.parametrize("name", NAMES)
def test_nan_freezes_only_its_own_run(name: str) -> None:
    runs, undisturbed = (cohort(name, rates(name), [1, 2, 3]) for _ in range(2))
    finish(runs, 4)
    finish(undisturbed, 4)
    runs.parameters[1, 0] = np.nan
    before = {key: state[1].copy() for key, state in runs.state.items()}
    at = runs.parameters[1].copy()
    finish(runs, 9)
    finish(undisturbed, 9)
    assert runs.stop_reasons == [None, "diverged", None]
    assert np.array_equal(runs.parameters[[0, 2]], undisturbed.parameters[[0, 2]])
    assert np.array_equal(runs.parameters[1], at, equal_nan=True)
    for key, state in runs.state.items():
        assert np.array_equal(state[1], before[key]), key


@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_run_is_untouched(name: str) -> None:
    runs = cohort(name, rates(name), [1, 2, 3])
    finish(runs, 3)
    runs.freeze(0, "cancelled")
    parameters, state = runs.parameters[0].copy(), {key: value[0].copy() for key, value in runs.state.items()}
    finish(runs, 6)
    assert np.array_equal(runs.parameters[0], parameters)
    for key, value in runs.state.items():
        assert np.array_equal(value[0], state[key]), key


@pytest.mark.parametrize("name", NAMES)
def test_parameters_and_state_keep_their_precision(name: str) -> None:
    for precision in ("float32", "float64"):
        runs = cohort(name, rates(name)[:1], [0], precision=precision)
        kinds = {key: state.dtype for key, state in runs.state.items()}
        finish(runs, 2)
        assert runs.parameters.dtype == precision
        assert {key: state.dtype for key, state in runs.state.items()} == kinds


# Rules that change parameters at a zero gradient by definition: settings with which they do not.
RESTING: dict[str, dict[str, Any]] = {
    # optax starts Yogi's first moment at 1e-6.
    "yogi": {"initial_accumulator": 0.0},
}


def plain(x: Any, gradient: Any, constants: Any) -> Any:
    """C = 1 everywhere."""
    gradient[:] = 0
    return 1.0


PLAIN = SurfaceProblem("plain", plain, (3.0, -2.0, 0.5), minimiser=(0, 0, 0))


@pytest.mark.parametrize("name", NAMES)
def test_a_zero_gradient_changes_nothing_but_decay(name: str) -> None:
    start = PLAIN.initial(0)
    rule = made(name, **RESTING.get(name, {}))
    decays = "weight_decay" in rule.settings() or any(one.name in ("l2", "weight_decay") for one in rule.around)
    runs = Cohort(PLAIN, [rule], [0], precision="float64")
    assert runs.parameters.tolist() == [start.tolist()]
    finish(runs, 12)
    assert runs.stop_reasons == [None]
    if decays:
        # Towards 0 in every coordinate, not beyond it.
        ratio = runs.parameters[0] / start
        assert ((ratio > 0) & (ratio <= 1)).all()
    without = rule.settings() | ({"weight_decay": 0.0} if "weight_decay" in rule.settings() else {})
    without["around"] = [one for one in without.pop("around", []) if one["name"] not in ("l2", "weight_decay")]
    runs = Cohort(PLAIN, [optimizers.create(rule.name, **without)], [0], precision="float64")
    finish(runs, 12)
    assert runs.parameters.tolist() == [start.tolist()]
    # An average of equal numbers is that number, up to roundings of the weights.
    assert runs.evaluation_parameters == pytest.approx(start[None], rel=1e-14)


# Learning rates with which 1,500 steps with a cosine to 0 reach the minimum of a quadratic; 0.1 for the rest.
REACHING = {
    "adadelta": 10.0,
    "dadaptation": 1.0,
    "lbfgs": 1.0,
    "lbfgs short": 1.0,
    "sam around lbfgs": 1.0,
    "prodigy": 1.0,
    "schedule_free_sgd": 1.0,
    "schedule-free averaged": 1.0,
    "shampoo": 0.5,
    "shampoo seldom": 0.5,
    "lars": 10.0,
}


@pytest.mark.parametrize("name", NAMES)
def test_the_minimum_of_a_quadratic_is_reached(name: str) -> None:
    problem = problems.create("quadratic", dimension=4, condition=10)
    rule = made(name, learning_rate=REACHING.get(name, 0.1))
    schedule = schedules.create("cosine", steps=1500)
    runs = Cohort(problem, [rule], [0], precision="float64", schedule=schedule)
    finish(runs, 1500)
    # Averages lag behind by their length; a run need not be evaluated at its parameters.
    assert np.abs(runs.evaluation_parameters).max() < 1e-2


@pytest.mark.parametrize("name", NAMES)
def test_evaluations_are_counted_run_by_run(name: str) -> None:
    runs = cohort(name, rates(name), [1, 2, 3])
    runs.freeze(2, "cancelled")
    for step in range(4):
        counts = runs.advance().evaluations
        extra = 1 if name == "sam" or (name == "adam in everything" and step % 3 == 2) else 0
        products = {"sophia": step == 0, "sophia often": step % 2 == 0, "sophia with l2": step % 3 == 0}.get(
            name, False
        )
        if name == "sam around lbfgs":
            # At the parameters and uphill of them, then two for each trial.
            assert (counts.gradients[:2] % 2 == 0).all()
            assert ((counts.gradients[:2] >= 4) & (counts.gradients[:2] <= 54)).all()
        elif name.startswith("lbfgs"):
            assert ((counts.gradients[:2] >= 2) & (counts.gradients[:2] <= 27)).all()
        else:
            assert counts.gradients.tolist() == [1 + extra, 1 + extra, 0]
        assert counts.gradients[2] == counts.costs[2] == counts.hessian_products[2] == 0
        assert counts.hessian_products.tolist() == [products, products, 0]


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_leaves_the_recorded_gradient_alone(name: str) -> None:
    runs = cohort(name, rates(name), [1, 2, 3])
    for _ in range(4):
        costs, gradient = (array.copy() for array in runs.gradient())
        record = runs.advance()
        assert np.array_equal(record.gradient, gradient)
        assert np.array_equal(record.costs, costs)
