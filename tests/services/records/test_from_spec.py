"""Specs with every default filled in, and the engine's errors as InvalidSpec."""

from typing import Any

import pytest

from talweg.errors import InvalidSpec
from talweg.records import cohort_of, normalise, normalise_study
from talweg.records.from_spec import fitting
from talweg.spec import RunSpec, StudySpec


def run_of(**changed: Any) -> RunSpec:
    """A run on digits with Adam, changed."""
    return RunSpec.model_validate({"problem": "digits-mlp", "optimizer": "adam"} | changed)


def test_normalising_fills_in_every_default() -> None:
    filled = normalise(run_of())
    assert filled.optimizer.settings == {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    assert filled.batch_size == 32
    assert filled.schedule.name == "constant"
    assert normalise(run_of(problem="rosenbrock")).problem.settings["start"]


def test_normalising_twice_changes_nothing() -> None:
    for problem in ("digits-mlp", "rosenbrock", "two-layer-line"):
        filled = normalise(run_of(problem=problem))
        assert normalise(filled) == filled
        assert RunSpec.model_validate(filled.model_dump(mode="json")) == filled


def test_equal_settings_have_equal_digests_however_they_are_written() -> None:
    spelled = {"name": "adam", "beta1": 0.9, "learning_rate": 1e-3}
    assert normalise(run_of(optimizer=spelled)).digest == normalise(run_of()).digest


def test_a_problem_can_be_described() -> None:
    problem = {
        "dataset": "digits",
        "network": [{"layer": "dense", "units": 8}, {"layer": "relu"}, {"layer": "dense", "units": 10}],
        "cost": "cross_entropy",
    }
    filled = normalise(run_of(problem=problem))
    assert cohort_of([filled]).problem.layout.size == 64 * 8 + 8 + 8 * 10 + 10


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"problem": "digit-mlp"}, "did you mean 'digits-mlp'"),
        ({"optimizer": "adm"}, "did you mean 'adam'"),
        ({"optimizer": {"name": "adam", "beta1": 1.0}}, r"beta1 must lie in \[0, 1\), got 1.0"),
        ({"optimizer": {"name": "adam", "beta": 0.9}}, "did you mean 'beta[12]'"),
        ({"schedule": "constan"}, "did you mean 'constant'"),
        ({"batch_size": 10**6}, "batch_size: must be at most the .* training examples of digits-mlp, got 1000000"),
        ({"optimizer": "lbfgs", "batch_size": 4}, "lbfgs: batch_size must be all 1257 training examples, got 4"),
        ({"problem": "rosenbrock", "batch_size": 4}, "batch_size: rosenbrock has no examples.* got 4"),
    ],
)
def test_what_the_engine_refuses_is_an_invalid_spec(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        normalise(run_of(**changed))


def test_rules_that_need_the_full_batch_get_it() -> None:
    filled = normalise(run_of(optimizer="lbfgs"))
    assert filled.batch_size == 1257
    assert cohort_of([filled]).batch_size == 1257
    assert normalise(run_of(problem="rosenbrock", optimizer="lbfgs")).batch_size is None


def test_more_memory_fits_more_runs_and_a_run_that_does_not_fit_is_refused() -> None:
    spec = normalise(run_of(problem="digits-cnn", optimizer="adam"))
    few, many = fitting(spec, 50_000_000), fitting(spec, 1_000_000_000)
    # A run of digits-cnn takes about 1.6 MB, and the data 0.7.
    assert 20 < few < 40
    assert many > 15 * few
    with pytest.raises(InvalidSpec, match=r"problem: one run takes .* at most TALWEG_COHORT_MEMORY, 1,000,000"):
        fitting(spec, 1_000_000)


def test_a_study_refuses_the_same_setting_twice() -> None:
    twice = StudySpec.model_validate(
        {"problem": "digits-mlp", "optimizers": ["adam", {"name": "adam", "beta1": 0.9}], "seeds": 2}
    )
    with pytest.raises(InvalidSpec, match=r"optimizers\.1: each setting must differ"):
        normalise_study(twice)


def test_a_normalised_study_makes_normalised_runs() -> None:
    study = StudySpec.model_validate({"problem": "digits-mlp", "optimizers": ["sgd", "adam"], "seeds": 2})
    runs = normalise_study(study).runs()
    assert [(run.optimizer.name, run.seed) for run in runs] == [("sgd", 0), ("sgd", 1), ("adam", 0), ("adam", 1)]
    assert runs == [normalise(run) for run in runs]
