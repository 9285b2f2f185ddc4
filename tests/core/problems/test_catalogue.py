"""The contract of every problem: bits that do not depend on other runs, settings that create the same problem."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg_core import Cohort, Record, optimizers, problems
from talweg_core.layout import Array
from talweg_core.problems import NetworkProblem, Problem

STEPS = 4
BATCH = 8
# A seed and a learning rate.
Run = tuple[int, float]


def cohort(problem: Problem, seeds: list[int], rates: list[float]) -> Cohort:
    """AdamW with these learning rates; small batches where the problem has any."""
    rules = [optimizers.create("adamw", learning_rate=rate) for rate in rates]
    return Cohort(problem, rules, seeds, batch_size=min(problem.default_batch_size, BATCH) or None)


def walk(runs: Cohort) -> tuple[Array, Array]:
    """Costs (steps, R) and the last gradient (R, P)."""
    records: list[Record] = []
    costs = []
    for record in runs.run(STEPS):
        records.append(record)
        costs.append(record.costs)
    return np.array(costs), records[-1].gradient.copy()


@pytest.mark.parametrize("name", problems.names())
def test_a_run_has_the_same_bits_in_cohorts_of_1_2_7_and_64_and_beside_any_other(name: str) -> None:
    problem = problems.create(name)
    # Run 0 is checked; the others differ in seed and rate, and one of them diverges.
    seeds = [3, 0, 1, 3, 2, 5, 4, *range(57)]
    rates = [1e-2, 1e-3, 0.1, 1e30, 1e-4, 0.3, 1e-2, *np.geomspace(1e-5, 1, 57)]
    alone = cohort(problem, seeds[:1], rates[:1])
    costs, gradient = walk(alone)
    for size in (2, 7, 64):
        together = cohort(problem, seeds[:size], rates[:size])
        found, slopes = walk(together)
        assert np.array_equal(found[:, 0], costs[:, 0])
        assert np.array_equal(slopes[0], gradient[0])
        assert np.array_equal(together.parameters[0], alone.parameters[0])
        assert together.checkpoint(0) == alone.checkpoint(0)


@pytest.mark.parametrize("name", problems.names())
def test_a_run_has_the_same_bits_beside_any_mix_of_seeds_and_learning_rates(name: str) -> None:
    problem = problems.create(name)
    company = st.tuples(st.integers(0, 2**32), st.floats(1e-6, 1e30, allow_subnormal=False))

    @settings(derandomize=True, deadline=None, max_examples=4)
    @given(run=company, before=st.lists(company, max_size=3), after=st.lists(company, max_size=3))
    def holds(run: Run, before: list[Run], after: list[Run]) -> None:
        seeds, rates = zip(*before, run, *after, strict=True)
        row = len(before)
        alone, together = cohort(problem, [run[0]], [run[1]]), cohort(problem, list(seeds), list(rates))
        costs, _ = walk(alone)
        found, _ = walk(together)
        assert np.array_equal(found[: len(costs), row], costs[:, 0], equal_nan=True)
        assert together.stop_reasons[row] == alone.stop_reasons[0]
        assert np.array_equal(together.parameters[row], alone.parameters[0], equal_nan=True)

    holds()


@pytest.mark.parametrize("name", problems.names())
def test_runs_that_share_every_batch_have_the_bits_of_runs_that_do_not(name: str) -> None:
    problem = problems.create(name)
    shared, apart = cohort(problem, [3, 3], [1e-2, 1e-3]), cohort(problem, [3, 4], [1e-2, 1e-3])
    assert np.array_equal(walk(shared)[0][:, 0], walk(apart)[0][:, 0])
    assert np.array_equal(shared.parameters[0], apart.parameters[0])


@pytest.mark.parametrize("name", problems.names())
def test_a_run_that_diverges_freezes_alone_and_the_others_keep_their_bits(name: str) -> None:
    problem = problems.create(name)
    seeds, rates = [0, 1, 2], [1e-2, 1e-2, 1e-2]
    calm, storm = cohort(problem, seeds, rates), cohort(problem, seeds, rates)
    storm.parameters[1] = np.nan
    expected, _ = walk(calm)
    found, _ = walk(storm)
    assert storm.stop_reasons == [None, "diverged", None]
    assert np.isnan(storm.parameters[1]).all()
    for row in (0, 2):
        assert np.array_equal(found[:, row], expected[:, row])
        assert storm.checkpoint(row) == calm.checkpoint(row)


@pytest.mark.parametrize("name", problems.names())
def test_a_checkpoint_holds_all_that_the_future_depends_on(name: str) -> None:
    problem = problems.create(name)
    whole = cohort(problem, [3], [1e-2])
    first = cohort(problem, [3], [1e-2])
    for _ in first.run(2):
        pass
    second = cohort(problem, [3], [1e-2])
    second.restore(0, first.checkpoint(0))
    costs, _ = walk(whole)
    rest, _ = walk(second)
    assert np.array_equal(rest, costs[2:])
    assert second.checkpoint(0) == whole.checkpoint(0)


@pytest.mark.parametrize("name", problems.names())
def test_computing_a_step_twice_gives_the_same(name: str) -> None:
    runs = cohort(problems.create(name), [3, 4], [1e-2, 1e-2])
    runs.advance()
    before = runs.checkpoint(0)
    costs, gradient = (array.copy() for array in runs.gradient())
    runs.costs(runs.parameters + 1)
    again, slopes = runs.gradient()
    assert np.array_equal(costs, again)
    assert np.array_equal(gradient, slopes)
    assert runs.checkpoint(0) == before


@pytest.mark.parametrize("name", problems.names())
def test_settings_make_the_problem_again(name: str) -> None:
    first = problems.create(name)
    second = problems.create(name, **first.settings())
    assert second.settings() == first.settings()
    assert second.layout == first.layout
    assert np.array_equal(first.initial(1), second.initial(1))


@pytest.mark.parametrize("name", problems.names())
def test_what_is_evaluated_is_finite_and_the_same_twice(name: str) -> None:
    problem = problems.create(name)
    runs = cohort(problem, [0], [1e-3])
    runs.advance()
    for split in problem.splits:
        cost, metric = runs.evaluate(0, split)
        assert np.isfinite(cost)
        assert (metric is None) == (problem.metric is None)
        assert runs.evaluate(0, split) == (cost, metric)


def test_every_network_problem_says_how_many_parameters_it_has() -> None:
    makers = problems.catalogue()
    for name in problems.names():
        problem, described = problems.create(name), makers[name].__doc__ or ""
        if isinstance(problem, NetworkProblem) and "parameters" in described.split("\n")[0]:
            assert f"{problem.layout.size:,} parameters" in described
