"""Damage of stored data is an error that names the place, never a wrong number."""

from collections.abc import Callable

import numpy as np
import pytest
from sqlalchemy import text

from talweg.errors import CorruptRecord
from talweg.execution import submit_run, train
from talweg.records import norms, records, repair, verify
from talweg.settings import Settings
from talweg.spec import RunSpec
from talweg.store import RunRow, Store
from talweg.store.batch import CHUNK_STEPS

CHUNK = "UPDATE chunks SET payload = :payload WHERE run_id = :run AND quantity = :quantity AND first_step = 64"
CHECKPOINT = "UPDATE checkpoints SET payload = :payload WHERE run_id = :run AND step = 128"


@pytest.fixture
def trained(store: Store, spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunRow]:
    """A finished run of 150 steps, recorded as asked, whose norms are in the chunks of gradients, or in longer ones."""

    def train_it(record: str, *, joined: bool = False) -> RunRow:
        if not joined:
            monkeypatch.setattr("talweg.execution.segment_store._JOINED_STEPS", CHUNK_STEPS)
        # No commits by time: chunks are the same on a slow machine.
        monkeypatch.setattr("talweg.execution.recorder._FIRST_COMMIT", 1e6)
        settings = Settings().model_copy(update={"workers": 1, "commit_seconds": 1e6})
        run = submit_run(store, spec(record=record), publish=lambda _: None, settings=settings)
        train(store, run.cohort_id, owner="test", settings=settings)
        return store.run(run.id)

    return train_it


def write(store: Store, statement: str, **values: object) -> None:
    with store.engine.begin() as connection:
        assert connection.execute(text(statement), values).rowcount == 1


def flips(payload: bytes) -> list[bytes]:
    """The payload with one bit flipped: in its first and last bytes, and in others drawn at random."""
    drawn = np.random.default_rng(5).choice(len(payload), 24, replace=False)
    found = []
    for position in sorted({*range(8), *range(len(payload) - 8, len(payload)), *map(int, drawn)}):
        damaged = bytearray(payload)
        damaged[position] ^= 1 << position % 8
        found.append(bytes(damaged))
    return found


@pytest.mark.parametrize("quantity", ["gradient", "parameters", "norms"])
def test_a_flipped_byte_of_a_stored_chunk_is_never_a_number(
    store: Store, trained: Callable[[str], RunRow], quantity: str
) -> None:
    run = trained("full")
    (chunk,) = store.chunks(run.id, quantity, 64, 65)  # type: ignore[arg-type]  # parametrised as plain strings

    def read(start: int, stop: int) -> bytes:
        if quantity == "norms":
            return norms(store, run, start, stop).tobytes()
        return records(store, run, quantity, start, stop).tobytes()  # type: ignore[arg-type]

    whole, before, after = read(0, 150), read(0, 64), read(128, 150)
    for damaged in flips(chunk.payload):
        write(store, CHUNK, payload=damaged, run=run.id, quantity=quantity)
        with pytest.raises(CorruptRecord, match=f"run {run.id}: {quantity} of steps 64 to 127"):
            read(100, 101)
        assert (read(0, 64), read(128, 150)) == (before, after)
    write(store, CHUNK, payload=chunk.payload, run=run.id, quantity=quantity)
    assert read(0, 150) == whole


def test_a_flipped_byte_of_a_checkpoint_is_never_a_number(store: Store, trained: Callable[[str], RunRow]) -> None:
    run = trained("replay")
    found = store.checkpoint_before(run.id, 128)
    assert found is not None
    for damaged in flips(found[1]):
        write(store, CHECKPOINT, payload=damaged, run=run.id)
        with pytest.raises(CorruptRecord, match=f"run {run.id}: checkpoint of step 128"):
            records(store, run, "gradient", 130, 131)
    write(store, CHECKPOINT, payload=found[1], run=run.id)
    assert len(records(store, run, "gradient", 130, 131)) == 1


@pytest.mark.parametrize(
    "change",
    ["steps = 63", "steps = 65", "first_step = 65", "codec = 'other'", "digest = 'other'", "quantity = 'parameter'"],
)
def test_a_chunk_whose_row_is_damaged_is_never_a_number(
    store: Store, trained: Callable[[str], RunRow], change: str
) -> None:
    run = trained("full")
    # `change` is a constant of this file.
    write(
        store,
        f"UPDATE chunks SET {change} WHERE run_id = :run AND quantity = 'gradient' AND first_step = 64",  # noqa: S608
        run=run.id,
    )
    with pytest.raises(CorruptRecord):
        records(store, run, "gradient", 60, 140)


@pytest.mark.parametrize("record", ["full", "replay"])
def test_damaged_chunks_are_repaired_where_they_agree(
    store: Store, trained: Callable[[str], RunRow], record: str
) -> None:
    run = trained(record)
    quantities = ("gradient", "parameters", "norms") if record == "full" else ("norms",)
    whole = {quantity: store.chunks(run.id, quantity, 64, 65)[0] for quantity in quantities}  # type: ignore[arg-type]
    for quantity, chunk in whole.items():
        write(store, CHUNK, payload=chunk.payload[:-1] + b"?", run=run.id, quantity=quantity)
    repaired = repair(store, run)
    assert [one.problem for one in repaired] == [None] * len(quantities)
    assert {one.what.split(": ")[1] for one in repaired} == {
        f"{quantity} of steps 64 to 127" for quantity in quantities
    }
    assert {quantity: store.chunks(run.id, quantity, 64, 65)[0] for quantity in quantities} == whole  # type: ignore[arg-type]
    assert repair(store, run) == []
    assert verify(store, run).agrees


def test_a_chunk_is_not_repaired_from_what_does_not_agree(store: Store, trained: Callable[[str], RunRow]) -> None:
    run = trained("full")
    (chunk,) = store.chunks(run.id, "gradient", 64, 65)
    write(store, CHUNK, payload=chunk.payload[:-1] + b"?", run=run.id, quantity="gradient")
    write(store, "UPDATE steps SET cost = 3 WHERE run_id = :run AND step = 20", run=run.id)
    (left,) = repair(store, run)
    assert left.problem is not None
    assert "cost of step 20 must equal the recorded one" in left.problem
    with pytest.raises(CorruptRecord):
        records(store, run, "gradient", 64, 65)


@pytest.mark.parametrize("quantity", ["gradient", "parameters", "norms"])
def test_a_chunk_whose_row_was_moved_is_never_other_steps_numbers(
    store: Store, trained: Callable[[str], RunRow], quantity: str
) -> None:
    run = trained("full")

    def read(step: int) -> bytes:
        if quantity == "norms":
            return norms(store, run, step, step + 1).tobytes()
        return records(store, run, quantity, step, step + 1).tobytes()  # type: ignore[arg-type]  # one of the two

    whole = [read(step) for step in range(150)]
    move = "UPDATE chunks SET first_step = :to WHERE run_id = :run AND quantity = :quantity AND first_step = :at"
    for at, to in ((0, 1), (64, 65), (64, 63), (64, 127), (64, 1), (128, 129), (128, 127), (128, 192)):
        write(store, move, run=run.id, quantity=quantity, at=at, to=to)
        refused = 0
        for step in range(0, 150, 7):
            try:
                assert read(step) == whole[step]
            except CorruptRecord:
                refused += 1
        assert refused
        write(store, move, run=run.id, quantity=quantity, at=to, to=at)


def test_what_is_gone_leaves_its_neighbours_readable(store: Store, trained: Callable[[str], RunRow]) -> None:
    run = trained("full")
    before, after = (records(store, run, "gradient", *span).tobytes() for span in ((0, 64), (128, 150)))
    write(store, "DELETE FROM chunks WHERE run_id = :run AND quantity = 'gradient' AND first_step = 64", run=run.id)
    assert records(store, run, "gradient", 0, 64).tobytes() == before
    assert records(store, run, "gradient", 128, 150).tobytes() == after
    with pytest.raises(CorruptRecord):
        records(store, run, "gradient", 100, 101)


@pytest.mark.parametrize("record", ["full", "replay"])
def test_what_is_gone_is_repaired_where_it_agrees(store: Store, trained: Callable[[str], RunRow], record: str) -> None:
    run = trained(record)
    quantities = ("gradient", "parameters", "norms") if record == "full" else ("norms",)
    for quantity in quantities:
        whole = store.chunks(run.id, quantity, 0, 150)  # type: ignore[arg-type]
        for first, said in ((0, "0 to 63"), (64, "64 to 127"), (128, "128 to 149")):
            gone = "DELETE FROM chunks WHERE run_id = :run AND quantity = :quantity AND first_step = :first"
            write(store, gone, run=run.id, quantity=quantity, first=first)
            (repaired,) = repair(store, run)
            assert (repaired.what, repaired.problem) == (f"run {run.name}: {quantity} of steps {said}: are gone", None)
            assert store.chunks(run.id, quantity, 0, 150) == whole  # type: ignore[arg-type]
    assert repair(store, run) == []
    assert verify(store, run).agrees


def test_norms_that_were_in_long_chunks_are_repaired_in_short_ones(
    store: Store, trained: Callable[..., RunRow]
) -> None:
    run = trained("replay", joined=True)
    assert [chunk.steps for chunk in store.chunks(run.id, "norms", 0, 150)] == [128, 22]
    whole = norms(store, run, 0, 150).tobytes()
    for first in (0, 128):
        gone = "DELETE FROM chunks WHERE run_id = :run AND quantity = 'norms' AND first_step = :first"
        write(store, gone, run=run.id, first=first)
    with pytest.raises(CorruptRecord):
        norms(store, run, 70, 71)
    assert [one.problem for one in repair(store, run)] == [None] * 3
    assert [chunk.steps for chunk in store.chunks(run.id, "norms", 0, 150)] == [64, 64, 22]
    assert norms(store, run, 0, 150).tobytes() == whole
    assert verify(store, run).agrees


def test_damaged_checkpoints_are_repaired_by_their_digest(store: Store, trained: Callable[[str], RunRow]) -> None:
    run = trained("replay")
    last, kept = store.checkpoint_before(run.id, 150), store.checkpoint_before(run.id, 149)
    assert last is not None
    assert kept is not None
    broken = "UPDATE checkpoints SET payload = :payload WHERE run_id = :run AND step = :step"
    for step, payload in (kept, last):
        write(store, broken, payload=payload[:-1] + b"?", run=run.id, step=step)
    first, second = repair(store, run)
    assert (first.problem, second.problem) == (None, None)
    assert f"checkpoint of step {kept[0]}" in first.what
    assert (store.checkpoint_before(run.id, 149), store.checkpoint_before(run.id, 150)) == (kept, last)
    # Without its digest nothing says what it was.
    write(store, "DELETE FROM checkpoints WHERE run_id = :run AND step = :step", run=run.id, step=kept[0])
    (left,) = repair(store, run)
    assert left.problem == "its digest is gone with it"


def test_chunks_that_claim_the_same_steps_are_left_alone(store: Store, trained: Callable[[str], RunRow]) -> None:
    run = trained("full")
    moved = "UPDATE chunks SET first_step = 65 WHERE run_id = :run AND quantity = 'gradient' AND first_step = 64"
    write(store, moved, run=run.id)
    (left,) = repair(store, run)
    assert left.what == f"run {run.name}: gradient of the steps from 128 on: are in two chunks"
    assert left.problem == "which of them is right, only a verification says"
