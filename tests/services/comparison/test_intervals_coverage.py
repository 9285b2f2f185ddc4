"""A short seeded form of benchmarks/intervals.py: intervals hold the truth, equals are left equal."""

import numpy as np
import pytest

from talweg.comparison.intervals import generator, mean_interval
from talweg.comparison.significance import differences

STUDIES = 400
# Shares of 400 studies have a standard error of 1.1 %: three of them are added to what the full command is held to.
ROOM = 0.033


@pytest.mark.parametrize("seeds", [6, 10])
@pytest.mark.parametrize("kind", ["normal", "gumbel"])
def test_intervals_hold_the_truth_in_93_to_97_percent_of_studies(seeds: int, kind: str) -> None:
    random, truth = generator(seeds), 0.2
    held = 0
    for study in range(STUDIES):
        if kind == "normal":
            apart = random.normal(truth, 1, seeds)
        else:
            apart = random.gumbel(truth, 1, seeds) - random.gumbel(0, 1, seeds)
        held += mean_interval(apart, seed=study, resamples=500).holds(truth)
    assert 0.93 - ROOM <= held / STUDIES <= 0.97 + ROOM


@pytest.mark.parametrize(("optimizers", "seeds"), [(2, 6), (2, 10), (3, 8)])
def test_equal_optimizers_are_called_different_in_at_most_5_percent_of_studies(optimizers: int, seeds: int) -> None:
    random, claimed = generator(seeds), 0
    for study in range(STUDIES):
        common = random.normal(0, 1, seeds)
        costs = np.exp(common + random.gumbel(0, 0.5, (optimizers, seeds)))
        scores = {f"optimizer {i}": dict(enumerate(row.tolist())) for i, row in enumerate(costs)}
        claimed += any(difference.settled for difference in differences(scores, seed=study))
    assert claimed / STUDIES <= 0.05 + ROOM
