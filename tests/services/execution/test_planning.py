"""Which runs train in one cohort."""

from typing import Any

import pytest

from talweg.execution.planning import plan
from talweg.records import cohort_of, normalise
from talweg.spec import RunSpec


def specs(count: int, **changed: object) -> list[RunSpec]:
    """`count` runs that differ by seed."""
    base = {"problem": "digits-mlp", "optimizer": "sgd", "steps": 10}
    return [RunSpec.model_validate(base | changed | {"seed": seed}) for seed in range(count)]


def lengths(cohorts: list[list[int]]) -> list[int]:
    """How many runs each cohort has."""
    return [len(cohort) for cohort in cohorts]


def test_seeds_of_one_setting_share_a_cohort() -> None:
    assert plan(specs(5), size=10, cohort_size=64, workers=1) == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "muon", "nesterov": False},
        {"name": "muon", "iterations": 4},
        {"name": "muon", "scale": "match_rms_adamw"},
        {"name": "muon", "around": [{"name": "clip_norm"}]},
        {"name": "muon", "around": [{"name": "weight_decay", "biases_and_norms": True}]},
    ],
)
def test_hyperparameters_share_a_cohort_unless_they_shape_the_state(changed: dict[str, Any]) -> None:
    muon = [{"name": "muon", "learning_rate": rate} for rate in (0.1, 0.2)]
    others = [changed | {"learning_rate": rate} for rate in (0.1, 0.9)]
    mixed = [normalise(specs(1, optimizer=optimizer)[0]) for optimizer in [*muon, *others]]
    assert plan(mixed, size=10, cohort_size=64, workers=1) == [[0, 1], [2, 3]]
    # They train as planned.
    for cohort in ([0, 1], [2, 3]):
        cohort_of([mixed[position] for position in cohort]).advance()


def test_numbers_of_surrounding_rules_share_a_cohort() -> None:
    around = [{"name": "adam", "around": [{"name": "clip_norm", "limit": limit}]} for limit in (1.0, 2.0)]
    both = [normalise(specs(1, optimizer=optimizer)[0]) for optimizer in around]
    assert plan(both, size=10, cohort_size=64, workers=1) == [[0, 1]]


def test_optimizers_do_not_share_a_cohort() -> None:
    both = specs(2) + specs(2, optimizer="adam")
    assert plan(both, size=10, cohort_size=64, workers=1) == [[0, 1], [2, 3]]


def test_a_large_group_is_cut_into_equal_parts() -> None:
    assert lengths(plan(specs(100), size=10, cohort_size=64, workers=1)) == [50, 50]


def test_every_worker_gets_a_cohort_where_there_are_runs_enough() -> None:
    assert lengths(plan(specs(8), size=10, cohort_size=64, workers=4)) == [2, 2, 2, 2]
    assert lengths(plan(specs(3), size=10, cohort_size=64, workers=8)) == [1, 1, 1]


def test_wide_problems_have_small_cohorts() -> None:
    assert lengths(plan(specs(4), size=4_000_000, cohort_size=64, workers=1)) == [2, 2]
    assert lengths(plan(specs(2), size=50_000_000, cohort_size=64, workers=1)) == [1, 1]


def test_a_cohort_holds_no_more_runs_than_fit_into_memory() -> None:
    planned = plan(specs(10) + specs(4, optimizer="adam"), size=10, cohort_size=64, workers=1, fitting=_fewer_for_adam)
    assert lengths(planned) == [5, 5, 2, 2]


def _fewer_for_adam(spec: RunSpec) -> int:
    return 2 if spec.optimizer.name == "adam" else 6


def test_each_run_is_in_exactly_one_cohort() -> None:
    mixed = specs(7) + specs(5, optimizer="adam") + specs(3, precision="float64")
    planned = plan(mixed, size=10, cohort_size=3, workers=16)
    assert sorted(position for cohort in planned for position in cohort) == list(range(15))
