"""A verification counts what agrees and names what is damaged."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from talweg.errors import InvalidSpec, ReplayDiverged
from talweg.execution import fork_run, submit_run, train
from talweg.records import gradient, verify
from talweg.settings import Settings
from talweg.spec import RunSpec, parse_fork
from talweg.store import Chunk, RunRow, Store
from talweg_core import numerics

SETTINGS = Settings().model_copy(update={"workers": 1, "commit_seconds": 1e6})
Trained = Callable[..., RunRow]


def end(store: Store, run: RunRow) -> RunRow:
    train(store, run.cohort_id, owner="test", settings=SETTINGS)
    return store.run(run.id)


@pytest.fixture
def trained(store: Store, spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch) -> Trained:
    """A finished run in chunks of 64 steps: no commit before its end, also on a slow machine."""
    monkeypatch.setattr("talweg.execution.recorder._FIRST_COMMIT", 1e6)
    return lambda **changed: end(store, submit_run(store, spec(**changed), publish=lambda _: None, settings=SETTINGS))


def change(store: Store, statement: str, **values: Any) -> None:
    with store.engine.begin() as connection:
        assert connection.execute(text(statement), values).rowcount == 1


@pytest.mark.parametrize("changed", [{"record": "full"}, {"record": "replay"}, {"precision": "float64"}])
def test_what_was_recorded_agrees(store: Store, trained: Trained, changed: dict[str, str]) -> None:
    run = trained(**changed)
    found = verify(store, run)
    assert (found.agrees, found.steps, found.next) == (True, 150, None)
    agreed = {finding.what: finding.agreed for finding in found.findings}
    assert agreed["costs and checkpoints"] == agreed["norms"] == 150
    assert agreed["central differences"] == agreed["gradients in float64"] >= 1
    assert ("gradient" in agreed) == (run.record == "full")
    assert found.recorded == found.numerics == numerics.fingerprint()


def test_a_fork_is_verified_with_its_history_and_a_diverged_run_to_its_end(store: Store, trained: Trained) -> None:
    parent = trained(record="replay")
    branch = {"step": 70, "optimizer": "sgd", "batch_size": 16, "steps": 100, "record": "full"}
    fork = end(store, fork_run(store, parent, parse_fork(branch), publish=lambda _: None))
    found = verify(store, fork)
    assert (found.agrees, found.steps) == (True, 100)
    wild = trained(problem="diabetes-linear", optimizer={"name": "sgd", "learning_rate": 1e30})
    assert wild.stop_reason == "diverged"
    assert verify(store, wild).agrees


def test_a_verification_may_come_in_parts_or_be_a_sample(store: Store, trained: Trained) -> None:
    run = trained(record="replay", steps=500)
    parts, start = [], 0
    while True:
        found = verify(store, run, start=start, seconds=0.0)
        parts.append(found.steps)
        if found.next is None:
            break
        start = found.next
    assert parts == [128] * 3 + [116]
    sample = verify(store, run, sample=3)
    assert sample.agrees
    assert 116 + 128 * 2 <= sample.steps <= 128 * 3
    assert verify(store, run, sample=3) == sample
    for wrong in ({"sample": 0}, {"start": 501}):
        with pytest.raises(InvalidSpec, match=r"sample: must be|start: must lie"):
            verify(store, run, **wrong)


@pytest.mark.parametrize(
    ("record", "quantity", "what"),
    [("full", "gradient", "gradient"), ("full", "parameters", "parameters"), ("replay", "norms", "norms")],
)
def test_values_that_differ_from_the_recomputed_are_named(
    store: Store, trained: Trained, record: str, quantity: str, what: str
) -> None:
    run = trained(record=record)
    (chunk,) = store.chunks(run.id, quantity, 70, 71)  # type: ignore[arg-type]  # parametrised as plain strings
    kind = np.float64 if quantity == "norms" else np.float32
    values = chunk.array(kind, 12 if quantity == "norms" else 275).copy()
    # One bit of one number, with a matching digest: only recomputing shows it.
    at = 70 - chunk.first_step
    values[at, 3] = np.nextafter(values[at, 3], kind(9))
    other = Chunk.of(run.id, quantity, chunk.first_step, values)  # type: ignore[arg-type]
    change(
        store,
        "UPDATE chunks SET payload = :p, digest = :d WHERE run_id = :r AND quantity = :q AND first_step = :f",
        p=other.payload, d=other.digest, r=run.id, q=quantity, f=chunk.first_step,
    )  # fmt: skip
    found = verify(store, run)
    assert not found.agrees
    assert {f.what: f.broken for f in found.findings if f.broken} == {
        what: [f"run {run.name}: {quantity} of step 70 must equal the recomputed one"]
    }


def test_a_damaged_chunk_is_named_and_the_rest_is_still_verified(store: Store, trained: Trained) -> None:
    run = trained(record="full")
    change(
        store,
        "UPDATE chunks SET digest = 'other' WHERE run_id = :r AND quantity = 'gradient' AND first_step = 64",
        r=run.id,
    )
    found = verify(store, run)
    assert not found.agrees
    (broken,) = [line for finding in found.findings for line in finding.broken]
    assert f"run {run.id}: gradient of steps 64 to 127" in broken
    agreed = {finding.what: finding.agreed for finding in found.findings}
    assert agreed["costs and checkpoints"] == agreed["parameters"] == 150


def test_a_cost_that_differs_is_reported_with_both_fingerprints(store: Store, trained: Trained) -> None:
    run = trained(record="replay")
    change(store, "UPDATE steps SET cost = 0.125 WHERE run_id = :r AND step = 70", r=run.id)
    found = verify(store, run)
    (broken,) = [line for finding in found.findings for line in finding.broken]
    assert "the recomputed cost of step 70 must equal the recorded one" in broken
    with pytest.raises(ReplayDiverged) as diverged:
        gradient(store, run, 66)
    assert diverged.value.recorded == diverged.value.recomputed == numerics.fingerprint()
