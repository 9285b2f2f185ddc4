"""Thinning: within the budget, with extremes kept, and the same steps in any portions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talweg.tracking.metrics import LEAST, Budget, Thinning, kept_steps, thinning


def test_a_run_within_its_budget_is_not_thinned() -> None:
    assert thinning(500, others=13, evaluations=11, per_evaluation=4, budget=50_000) == Thinning()


def test_cost_keeps_every_step_as_long_as_it_takes_half_of_the_budget() -> None:
    found = thinning(5_000, others=13, evaluations=101, per_evaluation=4, budget=50_000)
    assert found.cost == found.evaluations == 1
    assert found.others == 5


def test_the_tag_says_what_was_left_out() -> None:
    said = str(Thinning(cost=4, others=8, evaluations=3))
    assert said == (
        "cost: the first, least and greatest of every 4 steps; other metrics: the first of every 8 steps, and those "
        "with the least and the greatest gradient norm; "
        "evaluations: every 3rd; and always the last"
    )
    assert str(Thinning()) == "none: every step is here"


@given(
    steps=st.integers(1, 2_000_000),
    others=st.integers(1, 60),
    every=st.integers(1, 1000),
    budget=st.integers(1000, 100_000),
)
def test_the_budget_holds(steps: int, others: int, every: int, budget: int) -> None:
    evaluations = 1 + steps // every
    found = thinning(steps, others=others, evaluations=evaluations, per_evaluation=4, budget=budget)
    costs = steps if found.cost == 1 else 3 * -(-steps // found.cost)
    each = steps if found.others == 1 else 3 * -(-steps // found.others)
    assert found.others % found.cost == 0
    rest = others * (each + 1) + 4 * (-(-evaluations // found.evaluations) + 1)
    # The last steps are sent in addition, and always one step of each metric.
    assert costs + rest <= budget + 3 + 2 * others + 8


@given(
    st.lists(st.floats(0, 10) | st.just(float("nan")), min_size=1, max_size=80), st.integers(1, 9), st.integers(1, 7)
)
def test_portions_keep_the_same_steps_as_the_whole(numbers: list[float], width: int, portion: int) -> None:
    costs = np.array(numbers)
    whole = set(kept_steps(costs, width, ended=True).tolist())
    sent: set[int] = set()
    for stop in [*range(portion, len(costs), portion), len(costs)]:
        first = max(stop - portion, 0) // width * width
        kept = kept_steps(costs[first:stop], width, ended=stop == len(costs))
        sent |= {first + int(step) for step in kept}
    assert sent == whole


@given(st.lists(st.floats(0, 10), min_size=1, max_size=80), st.integers(1, 9))
def test_extremes_and_ends_are_always_kept(numbers: list[float], width: int) -> None:
    costs = np.array(numbers)
    kept = kept_steps(costs, width, ended=True)
    assert {0, len(costs) - 1} <= set(kept.tolist())
    assert costs[kept].min() == costs.min()
    assert costs[kept].max() == costs.max()
    assert len(kept) <= 3 * -(-len(costs) // width) + 1


@pytest.mark.parametrize(("runs", "share"), [(1, 50_000), (6, 50_000), (100, 3_000), (100_000, LEAST)])
def test_runs_of_a_study_share_its_budget(runs: int, share: int) -> None:
    assert Budget(run=50_000, study=300_000).share(runs) == share
