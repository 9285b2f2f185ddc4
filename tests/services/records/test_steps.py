"""Read stored steps, recompute others, and refuse damaged ones."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from sqlalchemy import text

from talweg.errors import CorruptRecord, InvalidSpec, NoSuchStep, ReplayDiverged
from talweg.execution import submit_run, train
from talweg.records import explain, gradient, parameters, records
from talweg.settings import Settings
from talweg.spec import RunSpec
from talweg.store import RunRow, Store

Trained = Callable[..., RunRow]


@pytest.fixture
def trained(store: Store, spec: Callable[..., RunSpec]) -> Trained:
    """Submit a small run and train it to its end, or until `leave` is true."""

    def train_it(leave: Callable[[], bool] = lambda: False, **changed: object) -> RunRow:
        settings = Settings().model_copy(update={"workers": 1})
        run = submit_run(store, spec(**changed), publish=lambda _: None, settings=settings)
        train(store, run.cohort_id, owner="test", settings=settings, leave=leave)
        return store.run(run.id)

    return train_it


def change(store: Store, statement: str, **values: object) -> None:
    """Damage the store."""
    with store.engine.begin() as connection:
        assert connection.execute(text(statement), values).rowcount == 1


@pytest.mark.parametrize("record", ["full", "replay"])
def test_both_record_policies_give_the_same_values(store: Store, trained: Trained, record: str) -> None:
    run, other = trained(record=record), trained(record="full")
    for step in (0, 1, 63, 64, 65, 149):
        assert gradient(store, run, step).tobytes() == gradient(store, other, step).tobytes()
    for step in (0, 64, 149, 150):
        assert parameters(store, run, step).tobytes() == parameters(store, other, step).tobytes()
    assert records(store, run, "gradient", 60, 70).shape == (10, 275)
    assert (
        records(store, run, "parameters", 140, 151).tobytes() == records(store, other, "parameters", 140, 151).tobytes()
    )


@pytest.mark.parametrize("record", ["full", "replay"])
@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (0, 0), (150, 151), (149, 151)])
def test_steps_that_are_not_recorded_are_refused(
    store: Store, trained: Trained, record: str, start: int, stop: int
) -> None:
    with pytest.raises(NoSuchStep, match="has gradient of the steps 0 to 149"):
        records(store, trained(record=record), "gradient", start, stop)


def test_a_run_under_way_is_read_as_far_as_it_is_committed(store: Store, trained: Trained) -> None:
    for record in ("full", "replay"):
        asked = iter([False] * 100)
        run = trained(lambda asked=asked: next(asked, True), record=record)
        assert (run.state, run.step) == ("queued", 100)
        assert len(records(store, run, "gradient", 0, 100)) == 100
        assert len(records(store, run, "parameters", 0, 100)) == 100
        with pytest.raises(NoSuchStep):
            parameters(store, run, 100)


def test_a_flipped_byte_is_caught(store: Store, trained: Trained) -> None:
    run = trained(record="full")
    (chunk,) = store.chunks(run.id, "gradient", 64, 65)
    flipped = bytearray(chunk.payload)
    flipped[len(flipped) // 2] ^= 1
    change(
        store,
        "UPDATE chunks SET payload = :p WHERE run_id = :r AND quantity = 'gradient' AND first_step = 64",
        p=bytes(flipped),
        r=run.id,
    )
    assert len(gradient(store, run, 63)) == 275
    # The chunk's end depends on the time of a commit.
    with pytest.raises(CorruptRecord, match=f"gradient of steps 64 to {64 + chunk.steps - 1}"):
        gradient(store, run, 64)


def test_a_missing_chunk_is_caught(store: Store, trained: Trained) -> None:
    run = trained(record="full")
    change(
        store,
        "DELETE FROM chunks WHERE run_id = :r AND quantity = 'gradient' AND first_step = 64",
        r=run.id,
    )
    with pytest.raises(CorruptRecord, match="gradient of the steps 60 to 69 must be 10 rows, got 4"):
        records(store, run, "gradient", 60, 70)


def test_a_replay_with_a_different_cost_is_refused_with_both_fingerprints(store: Store, trained: Trained) -> None:
    run = trained(record="replay")
    cost = float(np.nextafter(store.steps(run.id, 140, 141).cost[0], 1))
    change(store, "UPDATE steps SET cost = :c WHERE run_id = :r AND step = 140", c=cost, r=run.id)
    assert len(gradient(store, run, 10)) == 275
    with pytest.raises(ReplayDiverged, match=r"cost of step 140 .*recorded under .*recomputed under"):
        gradient(store, run, 130)


def test_a_replay_with_a_different_checkpoint_is_refused(store: Store, trained: Trained) -> None:
    run = trained(record="replay")
    change(store, "UPDATE checkpoints SET digest = 'other' WHERE run_id = :r AND step = 128", r=run.id)
    with pytest.raises(ReplayDiverged, match="checkpoint of step 128"):
        gradient(store, run, 70)


def test_a_replay_under_another_spec_is_refused(store: Store, trained: Trained) -> None:
    run = trained(record="replay")
    other = run.spec | {"optimizer": run.spec["optimizer"] | {"beta1": 0.8}}
    change(store, "UPDATE runs SET spec = :s WHERE id = :r", s=json.dumps(other), r=run.id)
    with pytest.raises(ReplayDiverged):
        gradient(store, store.run(run.id), 40)


@pytest.mark.parametrize("record", ["full", "replay"])
def test_an_explanation_holds_what_was_recorded(store: Store, trained: Trained, record: str) -> None:
    run = trained(record=record, precision="float64")
    found = explain(store, run, 70, "dense1.weight", (3, 5))
    position = 3 * 16 + 5
    assert found.derivative == gradient(store, run, 70)[position]
    assert found.parameter == parameters(store, run, 70)[position]
    assert found.update == parameters(store, run, 71)[position] - parameters(store, run, 70)[position]
    assert found.cost == store.steps(run.id, 70, 71).cost[0]
    assert found.sentence.startswith("Raising `dense1.weight[3, 5]` from ")
    assert "Adam made an update of " in found.sentence


def test_explain_names_what_is_wrong(store: Store, trained: Trained) -> None:
    run = trained()
    with pytest.raises(InvalidSpec, match=r"did you mean 'dense1\.weight'"):
        explain(store, run, 0, "dense1.weigth", (0, 0))
    with pytest.raises(InvalidSpec, match=r"shape \(13, 16\), got \(13, 0\)"):
        explain(store, run, 0, "dense1.weight", (13, 0))
    with pytest.raises(InvalidSpec, match="nudge: must be finite"):
        explain(store, run, 0, "dense1.weight", (0, 0), nudge=0.0)
    with pytest.raises(NoSuchStep):
        explain(store, run, 150, "dense1.weight", (0, 0))
