"""Grouping runs by what they share."""

from collections.abc import Callable

from talweg.comparison import Result, groups


def test_runs_that_differ_by_seed_only_form_a_group_in_order_of_appearance(result: Callable[..., Result]) -> None:
    found = groups([result("sgd"), result("adam"), result("adam", seed=1), result("sgd", seed=1)])
    assert [(group.label, len(group.results)) for group in found] == [("sgd", 2), ("adam", 2)]


def test_labels_of_one_optimizers_settings_show_what_varies(result: Callable[..., Result]) -> None:
    found = groups([result("adam", beta1=0.9), result("adam", beta1=0.8), result("sgd", momentum=0.9)])
    assert [group.label for group in found] == ["adam · beta1 0.9", "adam · beta1 0.8", "sgd"]
    assert [group.variant for group in found] == [0, 1, 0]
