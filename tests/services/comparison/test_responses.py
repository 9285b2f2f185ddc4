"""The points of a response surface: each setting of a sweep, each trial of a search, with its cost."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from talweg.comparison import Result, compare
from talweg.comparison.compare import Comparison
from talweg.comparison.responses import FEWEST, responses
from talweg.spec import StudySpec

Make = Callable[..., Result]


def sweep(result: Make, rates: int, betas: int, **changed: object) -> Comparison:
    """Adam at each pair of so many learning rates and values of β₂, beside SGD at one setting; two seeds each."""
    adam = [
        {"name": "adam", "learning_rate": 10.0 ** -(1 + i), "beta2": 1 - 10.0 ** -(1 + j)}
        for i in range(rates)
        for j in range(betas)
    ]
    spec = StudySpec.model_validate(
        {"problem": "digits-mlp", "optimizers": [*adam, "sgd"], "seeds": 2, "steps": 3} | changed
    )
    runs = [
        replace(result("adam", seed=seed, costs=[99.0, 50.0, 1.0 + position + seed]), contender=position)
        for position in range(len(spec.optimizers))
        for seed in range(2)
    ]
    # The first setting diverges on both seeds.
    lost = [replace(run, stop_reason="diverged") if run.contender == 0 else run for run in runs]
    return compare(spec, lost)


def test_every_setting_of_a_sweep_is_a_point(result: Make) -> None:
    (found,) = responses(sweep(result, 5, 3))
    assert (found.problem, found.optimizer, found.keys) == ("digits-mlp", "adam", ("learning_rate", "beta2"))
    assert found.values.shape == (15, 2)
    by_setting = {tuple(values): cost for values, cost in zip(found.values.tolist(), found.costs.tolist(), strict=True)}
    assert by_setting[(0.1, 0.9)] == math.inf
    # The fifth setting: the median of its seeds' costs 5 and 6.
    assert by_setting[(0.01, 0.99)] == 5.5


def test_a_hyperparameter_that_does_not_differ_is_no_axis(result: Make) -> None:
    (found,) = responses(sweep(result, FEWEST, 1))
    assert found.keys == ("learning_rate",)


def test_few_settings_have_no_surface(result: Make) -> None:
    assert responses(sweep(result, FEWEST - 1, 1)) == []


def test_every_trial_of_a_search_is_a_point(result: Make) -> None:
    rates = np.geomspace(1e-3, 1, 10)
    search = {"trials": 10, "points": [[{"learning_rate": rate} for rate in rates[1:]]]}
    spec = StudySpec.model_validate(
        {
            "problem": "digits-mlp",
            "optimizers": ["adam"],
            "protocol": "search",
            "search": search,
            "seeds": 1,
            "steps": 3,
        }
    )
    runs = [
        replace(result("adam", costs=[9, 9, 1 + trial], learning_rate=rate), contender=0, trial=trial)
        for trial, rate in enumerate(rates)
    ]
    (found,) = responses(compare(spec, runs))
    assert found.keys == ("learning_rate",)
    np.testing.assert_array_equal(found.values[:, 0], rates)
    np.testing.assert_array_equal(found.costs, np.arange(1.0, 11.0))
