"""Paired differences, the test and its correction, by hand and against scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from talweg.comparison.significance import differences, holm, paired_t_test, signed_rank_test
from talweg.study_settings import seeds_needed


def test_the_signed_rank_test_by_hand() -> None:
    # All of one sign: 2 of 2^3 sums are as great. One small difference against: 1 + 2 − 3 = 0 is met by all.
    assert signed_rank_test([1, 2, 3]) == 2 / 8
    assert signed_rank_test([1, 2, -3]) == 1.0
    assert signed_rank_test([0, 0]) == signed_rank_test([]) == 1.0


@pytest.mark.parametrize("pairs", [6, 10, 14, 30, 200])
def test_the_signed_rank_test_is_exact(pairs: int) -> None:
    values = np.random.default_rng(pairs).normal(0.5, 1, pairs)
    assert signed_rank_test(values) == pytest.approx(stats.wilcoxon(values, method="exact").pvalue, rel=1e-12)


def test_the_signed_rank_test_of_very_many_pairs_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(0.1, 1, 201)
    exact = stats.wilcoxon(values, method="exact").pvalue
    # The distribution of 201 signed ranks differs from the normal one by about 1 / 201.
    assert signed_rank_test(values) == pytest.approx(exact, rel=0.01)
    assert signed_rank_test(np.ones(30)) == 2 / 2**30


def test_ties_share_their_rank_and_a_diverged_run_has_the_greatest() -> None:
    # Ranks 1.5, 1.5 and 3: 1.5 + 1.5 − 3 = 0.
    assert signed_rank_test([1, 1, -math.inf]) == 1.0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06], rel=1e-15)
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_how_many_seeds_a_claim_needs() -> None:
    # 2 / 2^6 = 0.031 ≤ 0.05 < 0.0625; of three comparisons 2 / 2^7 = 0.0156 ≤ 0.0167.
    assert [seeds_needed(m) for m in (1, 3, 6)] == [6, 7, 8]
    for comparisons in (1, 3, 6, 45):
        seeds = seeds_needed(comparisons)
        assert comparisons * 2 ** (1 - seeds) <= 0.05 < comparisons * 2 ** (2 - seeds)


def test_a_difference_is_a_ratio_where_all_costs_are_positive() -> None:
    scores = {"adam": {s: 1.0 + s for s in range(6)}, "sgd": {s: 2.0 + 2 * s for s in range(6)}}
    (found,) = differences(scores)
    assert found.relative
    assert found.interval is not None
    assert (found.interval.estimate, found.interval.low) == pytest.approx((0.5, 0.5), rel=1e-12)
    assert (found.p, found.basis, found.settled) == (2 / 64, "rank", -1)


def test_a_difference_is_a_difference_where_a_cost_is_not() -> None:
    scores = {"adam": {0: -1.0, 1: 2.0}, "sgd": {0: 1.0, 1: 4.0}}
    (found,) = differences(scores)
    assert not found.relative
    assert found.interval is not None
    assert (found.interval.estimate, found.neutral) == (-2.0, 0.0)
    assert found.settled == 0


def test_five_seeds_rest_on_the_t_test_of_the_logarithms() -> None:
    ratios = np.array([90.0, 100, 110, 95, 105])
    (found,) = differences({"adam": dict.fromkeys(range(5), 1.0), "sgd": dict(enumerate(ratios.tolist()))})
    assert found.basis == "t"
    assert found.p == pytest.approx(stats.ttest_1samp(np.log(1 / ratios), 0).pvalue, rel=1e-9)
    assert found.settled == -1


def test_the_t_test_has_no_answer_where_nothing_is_known_of_the_spread() -> None:
    for unknown in ([], [1.0], [2.0, 2.0, 2.0], [1.0, math.inf, 3.0]):
        assert paired_t_test(unknown) == 1.0


def test_an_optimizer_that_diverged_on_every_seed_is_worse() -> None:
    (found,) = differences({"adam": {s: 1.0 + s for s in range(10)}, "sgd": dict.fromkeys(range(10), math.inf)})
    assert (found.measured, found.interval, found.settled) == (0, None, -1)


def test_of_many_the_best_is_compared_with_each_of_the_others() -> None:
    random = np.random.default_rng(0)
    scores = {f"rate {i}": dict(enumerate((random.normal(0, 0.1, 12) + i).tolist())) for i in range(13)}
    found = differences(scores)
    assert {difference.first for difference in found} == {"rate 0"}
    # 12 comparisons, each with the least p that 12 pairs can give, under Bonferroni's correction.
    assert [difference.adjusted for difference in found] == [12 * 2 / 2**12] * 12


def test_only_seeds_in_common_are_compared_and_diverged_ones_count_in_the_test_alone() -> None:
    scores = {"adam": {s: 1.0 + 0.1 * s for s in range(8)}, "sgd": {s: 2.0 + 0.3 * s for s in range(1, 9)}}
    scores["sgd"][3] = math.inf
    (found,) = differences(scores)
    assert (found.pairs, found.measured) == (7, 6)
    assert found.p == 2 / 2**7
    assert found.settled == -1


def test_two_that_diverged_alike_are_equal() -> None:
    (found,) = differences({"a": dict.fromkeys(range(9), math.inf), "b": dict.fromkeys(range(9), math.inf)})
    assert (found.p, found.interval, found.settled) == (1.0, None, 0)


def test_an_identical_optimizer_is_not_different() -> None:
    scores = {s: 1.0 + s for s in range(10)}
    (found,) = differences({"a": scores, "b": dict(scores)})
    assert (found.p, found.settled) == (1.0, 0)
