"""Every suite is made of problems that there are, and of targets that the stated optimizers reach."""

import math

import numpy as np
import pytest

from talweg_core import Cohort, optimizers, problems
from talweg_core.errors import UnknownName
from talweg_core.problems import suites
from talweg_core.problems.suites import Entry

ENTRIES = [
    pytest.param(entry, id=f"{name}-{k}") for name in suites.names() for k, entry in enumerate(suites.suite(name))
]


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_can_be_trained_and_its_target_lies_between_the_minimum_and_the_start(entry: Entry) -> None:
    problem = problems.create(entry.problem, **entry.settings)
    assert (entry.batch_size is None) == (problem.examples == 0)
    assert 0 < entry.evaluate_every <= entry.steps / 10
    runs = Cohort(problem, [optimizers.create("sgd")] * 10, range(10), batch_size=entry.batch_size)
    starts = runs.costs() if not problem.splits else [runs.evaluate(row, "validation")[0] for row in range(10)]
    assert min(starts) > entry.target >= getattr(problem, "least", 0.0)
    # The seed changes where a run goes: a suite has no deterministic problem.
    assert len({float(cost) for cost in starts}) > 1 or len({float(cost) for cost in runs.advance().costs}) > 1


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES)
def test_a_target_is_reached_in_three_quarters_of_the_steps_by_whom_it_states(entry: Entry) -> None:
    name, rate = entry.reached_by
    seeds = list(range(300, 305))
    problem = problems.create(entry.problem, **entry.settings)
    rules = [optimizers.create(name, learning_rate=rate)] * len(seeds)
    runs = Cohort(problem, rules, seeds, batch_size=entry.batch_size)
    best = np.full(len(seeds), math.inf)
    for record in runs.run(entry.steps * 3 // 4):
        if not problem.splits:
            best = np.fmin(best, record.costs)
        elif runs.step % entry.evaluate_every == 0:
            best = np.fmin(best, [runs.evaluate(row, "validation")[0] for row in range(len(seeds))])
    assert np.median(best) <= entry.target


def test_entries_of_a_suite_differ() -> None:
    for name in suites.names():
        entries = suites.suite(name)
        assert len({repr((entry.problem, sorted(entry.settings.items()))) for entry in entries}) == len(entries)


def test_an_unknown_suite_is_refused() -> None:
    with pytest.raises(UnknownName, match="suite: there is no 'standrad'; did you mean 'standard'"):
        suites.suite("standrad")
