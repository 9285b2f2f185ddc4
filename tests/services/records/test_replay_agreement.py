"""Replayed steps equal stored steps: ten problems × four optimizers, every step.

Each run is read at once, and randomly drawn steps one by one; with fifty of those it takes a minute:

    AGREEMENT_STEPS=50 pytest tests/services/records/test_replay_agreement.py
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from talweg.execution import submit_run, train
from talweg.records import gradient, parameters, records
from talweg.settings import Settings
from talweg.spec import RunSpec
from talweg.store import RunRow, Store, open_store

STEPS = 128
DRAWN = int(os.environ.get("AGREEMENT_STEPS", "4"))
PROBLEMS = (
    "rosenbrock", "noisy-quadratic", "two-layer-line", "deep-linear", "teacher-student", "two-spirals", "wine-mlp",
    "breast-cancer-logistic", "diabetes-linear", "digits-mlp",
)  # fmt: skip
OPTIMIZERS = ("momentum", "adam", "lion", "schedule_free_adamw")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One store for all runs."""
    path: Path = tmp_path_factory.mktemp("agreement") / "talweg.db"
    with open_store(f"sqlite:///{path}", create=True) as opened:
        yield opened


def trained(store: Store, problem: str, optimizer: str, record: str) -> RunRow:
    settings = Settings().model_copy(update={"workers": 1})
    asked = RunSpec.model_validate(
        {
            "problem": problem,
            # Small enough for every pair.
            "optimizer": {"name": optimizer, "learning_rate": 1e-4},
            "steps": STEPS,
            "seed": 11,
            "record": record,
            "evaluate_every": 0,
        }
    )
    run = submit_run(store, asked, publish=lambda _: None, settings=settings)
    assert train(store, run.cohort_id, owner="test", settings=settings) == "finished"
    return store.run(run.id)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_replay_reads_as_full_does(store: Store, problem: str, optimizer: str) -> None:
    full, replay = (trained(store, problem, optimizer, record) for record in ("full", "replay"))
    assert (full.record, replay.record) == ("full", "replay")
    assert full.step == replay.step == STEPS
    for quantity, end in (("gradient", STEPS), ("parameters", STEPS + 1)):
        stored, recomputed = (records(store, run, quantity, 0, end) for run in (full, replay))  # type: ignore[arg-type]  # one of the two
        assert stored.tobytes() == recomputed.tobytes()
    steps = np.random.default_rng(len(problem + optimizer)).choice(STEPS, DRAWN, replace=False)
    for step in map(int, steps):
        assert gradient(store, full, step).tobytes() == gradient(store, replay, step).tobytes()
        assert parameters(store, full, step).tobytes() == parameters(store, replay, step).tobytes()
