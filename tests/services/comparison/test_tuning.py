"""TPE's suggestions: reproducible, within the range, and better than random search in a valley."""

import math

import numpy as np

from talweg.comparison.tuning import suggest
from talweg.study_settings import Range

SPACE = {"learning_rate": Range(low=1e-4, high=1.0), "momentum": Range(low=0.0, high=0.99, scale="linear")}


def valley(point: dict[str, float]) -> float:
    """Least at a learning rate of 0.01."""
    return (math.log10(point["learning_rate"]) + 2) ** 2


def test_the_same_results_give_the_same_point_and_other_keys_another() -> None:
    trials = [({"learning_rate": 0.1, "momentum": 0.5}, 1.0), ({"learning_rate": 0.01, "momentum": 0.9}, 0.5)]
    first = suggest(SPACE, trials, (0, 0, 0, 0, 2))
    assert suggest(SPACE, trials, (0, 0, 0, 0, 2)) == first
    assert suggest(SPACE, trials, (0, 0, 0, 1, 2)) != first
    assert all(SPACE[name].low <= value <= SPACE[name].high for name, value in first.items())


def test_trials_may_diverge_or_lie_outside_of_the_range() -> None:
    trials = [({"learning_rate": 5.0, "momentum": 0.5}, 1.0), ({"learning_rate": 1.0, "momentum": 0.9}, math.inf)]
    assert set(suggest(SPACE, trials, (1,))) == set(SPACE)
    # A trial outside of the range changes nothing.
    assert suggest(SPACE, trials, (1,)) == suggest(SPACE, trials[1:], (1,))


def test_suggestions_go_where_costs_were_low() -> None:
    """After eight evenly spaced points, over three searches; half of random points cost less than 1."""
    later: list[float] = []
    for seed in range(3):
        even = [{"learning_rate": 10 ** (-4 * (i + 0.5) / 8), "momentum": 0.11 * i} for i in range(8)]
        trials = [(point, valley(point)) for point in even]
        for trial in range(8, 24):
            point = suggest(SPACE, trials, (seed, trial))
            trials.append((point, valley(point)))
        later += [cost for _, cost in trials[8:]]
    assert np.median(later) < 0.5
