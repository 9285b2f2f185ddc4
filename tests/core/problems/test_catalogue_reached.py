"""A problem reaches the result that its docstring states, for several seeds."""

import re

import pytest

from talweg_core import Cohort, optimizers, problems

_STATED = re.compile(
    r"Reaches: (accuracy|cost) ([\d.]+) on the (\w+) split at step (\d+) of AdamW at learning rate ([\d.]+), "
    r"batches of (\d+)"
)
SEEDS = [0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits-cnn", "characters-transformer"])
def test_adamw_reaches_what_the_problem_s_file_states(name: str) -> None:
    stated = _STATED.search(problems.catalogue()[name].__doc__ or "")
    assert stated is not None
    what, value, split, steps, rate, batch = stated.groups()
    rules = [optimizers.create("adamw", learning_rate=float(rate))] * len(SEEDS)
    runs = Cohort(problems.create(name), rules, SEEDS, batch_size=int(batch))
    for _ in runs.run(int(steps)):
        pass
    for row in range(len(SEEDS)):
        cost, metric = runs.evaluate(row, split)
        if what == "cost":
            assert cost <= float(value)
        else:
            assert metric is not None
            assert metric >= float(value)
