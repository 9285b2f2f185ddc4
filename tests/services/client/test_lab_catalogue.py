"""Every entry of the engine's catalogues can be submitted, by keywords and by the JSON of a spec."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from talweg.client import Lab
from talweg.errors import InvalidSpec
from talweg_core import optimizers, schedules

# Settings of the schedules that `required` does not suit.
SCHEDULES: dict[str, dict[str, Any]] = {
    "cosine_restarts": {"steps": 2},
    "step": {"every": 2},
    "warmup": {"steps": 2, "start": 0.5, "then": {"name": "cosine", "steps": 2}},
    "one_cycle": {"steps": 8},
    "warmup_stable_decay": {"steps": 4, "decay": 2},
    "sequence": {"schedules": ["constant", {"name": "linear", "steps": 3, "scale": 0.5}], "boundaries": [2]},
}


def required(schedule: str) -> dict[str, Any]:
    """The settings that a schedule must be given: 3 for whole numbers, 0.9 for others."""
    fields = dataclasses.fields(schedules.catalogue()[schedule])
    return {f.name: 3 if f.metadata["range"].whole else 0.9 for f in fields if f.default is dataclasses.MISSING}


def test_every_optimizer_is_submitted_trained_and_read(lab: Lab, train: Callable[[], None]) -> None:
    built_in = [n for n, kind in optimizers.catalogue().items() if kind.__module__.startswith("talweg_core")]
    runs = {name: lab.submit(problem="wine-mlp", optimizer=name, steps=3, record="full") for name in built_in}
    train()
    for name, run in runs.items():
        run.refresh()
        assert (run.state, run.step) == ("finished", 3), name
        assert len(run.costs) == 3


def test_wrappers_of_an_optimizer_are_submitted_trained_and_stored(lab: Lab, train: Callable[[], None]) -> None:
    everything = [{"name": described.name} for described in optimizers.describe_wrappers()]
    by_keyword = lab.submit(problem="wine-mlp", optimizer="adam", around=everything, steps=5)
    by_json = lab.submit(
        {"problem": "wine-mlp", "optimizer": {"name": "adam", "around": everything}, "steps": 5, "seed": 1}
    )
    study = lab.compare(
        problem="wine-mlp", optimizers=["adam", {"name": "adam", "around": [{"name": "clip_norm"}]}], seeds=2, steps=4
    )
    train()
    for run in (by_keyword, by_json):
        run.refresh()
        assert run.state == "finished"
        # Every default is spelled out in what was kept.
        kept = run.spec["optimizer"]["around"]
        assert kept == [{"name": one.name} | one.plain()["settings"] for one in optimizers.describe_wrappers()]
    assert study.wait(timeout=30).state == "finished"


@pytest.mark.parametrize("name", schedules.names())
def test_every_schedule_is_submitted_and_its_rates_are_recorded(lab: Lab, train: Callable[[], None], name: str) -> None:
    settings = SCHEDULES.get(name) or required(name)
    schedule = {"name": name} | settings if settings else name
    run = lab.submit(problem="rosenbrock", optimizer="adam", schedule=schedule, steps=4)
    train()
    made = schedules.create(name, **settings)
    assert run.learning_rates.tolist() == [0.001 * made.factor(step) for step in range(4)]


def test_a_full_batch_optimizer_gets_the_full_batch_or_is_refused(lab: Lab) -> None:
    assert lab.submit(problem="wine-mlp", optimizer="lbfgs", steps=2).spec["batch_size"] == 124
    with pytest.raises(InvalidSpec, match="lbfgs: batch_size must be all 124 training examples, got 16"):
        lab.submit(problem="wine-mlp", optimizer="lbfgs", batch_size=16, steps=2)
    with pytest.raises(InvalidSpec, match="lbfgs: batch_size must be all 124 training examples, got 16"):
        lab.compare(problem="wine-mlp", optimizers=["adam", "lbfgs"], seeds=1, steps=2)
    fair = lab.compare(problem="wine-mlp", optimizers=["adam", "lbfgs"], seeds=1, steps=2, batch_size=124)
    assert len(fair.runs) == 2


def test_the_laboratory_lists_what_the_engine_has(lab: Lab) -> None:
    rows = {row["name"]: row for row in lab.optimizers()}
    for described in optimizers.catalogue().descriptions():
        row = rows[described.name]
        assert (row["family"], row["memory"], row["evaluations"], row["paper"]) == described.row()[1:]
    assert lab.schedules().column("name") == schedules.names()
