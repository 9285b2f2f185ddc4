"""Commits: all or nothing, and read back as written."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text, update

from talweg.errors import Conflict, CorruptRecord
from talweg.store import (
    Checkpoint,
    Chunk,
    Claim,
    CommitBatch,
    DerivativeRows,
    Evaluation,
    Progress,
    StepRows,
    Store,
    tables,
)

Batch = Callable[..., CommitBatch]
Values = Callable[[int, int], np.ndarray[Any, np.dtype[np.float32]]]


def _count(store: Store) -> dict[str, int]:
    names = ("steps", "evaluations", "derivatives", "chunks", "checkpoints")
    with store.engine.connect() as connection:
        return {name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in names}  # noqa: S608


def test_a_commit_is_read_back_as_written(
    store: Store, claimed: Callable[..., Claim], new_batch: Batch, values: Values
) -> None:
    claim = claimed(2)
    store.commit(claim, new_batch(claim, count=4))
    store.commit(claim, new_batch(claim, first=4, count=3))
    for run in claim.runs:
        table = store.steps(run.id)
        assert table.step.tolist() == list(range(7))
        assert table.cost.tobytes() == (np.arange(7.0) / 3).tobytes()
        assert table.update_norm.tolist() == [step + 0.125 for step in range(7)]
        assert len(store.steps(run.id, 2, 5)) == 3
        chunks = store.chunks(run.id, "gradient", 0, 7)
        read = np.concatenate([chunk.array(np.float32, 9) for chunk in chunks])
        assert read.tobytes() == values(0, 7).tobytes()
        some = [chunk.array(np.float32, 9, 3, 5) for chunk in chunks]
        assert [part.tolist() for part in some] == [values(3, 1).tolist(), values(4, 1).tolist()]
        row = store.run(run.id)
        assert (row.step, row.cost, row.best_cost, row.state) == (7, 0.5, 0.25, "running")


def test_a_commit_that_fails_leaves_nothing(store: Store, claimed: Callable[..., Claim], new_batch: Batch) -> None:
    claim = claimed(2)
    store.commit(claim, new_batch(claim))
    before = (_count(store), store.cohort(claim.cohort_id), store.run(claim.runs[0].id), store.outbox())
    twice = Chunk.of(claim.runs[0].id, "gradient", 0, np.zeros((4, 9)))
    with pytest.raises(Conflict):
        store.commit(claim, new_batch(claim, first=4, chunks=[twice]))
    assert (_count(store), store.cohort(claim.cohort_id), store.run(claim.runs[0].id), store.outbox()) == before
    # The connection works after the error.
    store.commit(claim, new_batch(claim, first=4))


def test_a_commit_writes_its_own_cohort_only(store: Store, claimed: Callable[..., Claim], new_batch: Batch) -> None:
    mine, other = claimed(1), claimed(1)
    with pytest.raises(ValueError, match=f"must be of cohort {mine.cohort_id}"):
        store.commit(mine, new_batch(other))
    assert set(_count(store).values()) == {0}


def test_nan_is_null_on_both_databases(store: Store, claimed: Callable[..., Claim]) -> None:
    claim = claimed(1)
    run_id = claim.runs[0].id
    column = np.array([1.5, np.nan, np.inf, -np.inf, -0.0, 5e-324])
    batch = CommitBatch(
        60.0,
        {run_id: Progress(6, cost=np.nan, best_cost=float(np.float32(0.1)), state="finished", stop_reason="diverged")},
        [StepRows(run_id, 0, column, column, column, column, column)],
        [Evaluation(run_id, 0, "test", np.nan), Evaluation(run_id, 0, "validation", np.inf, float(np.float32(0.5)))],
    )
    store.commit(claim, batch)
    table = store.steps(run_id)
    # SQLite has no negative zero, so neither has PostgreSQL.
    expected = column + 0.0
    assert table.cost.tobytes() == expected.tobytes()
    assert table.update_norm.tobytes() == expected.tobytes()
    with store.engine.connect() as connection:
        assert connection.execute(text("SELECT step FROM steps WHERE cost IS NULL")).scalars().all() == [1]
    test, validation = store.evaluations(run_id)
    assert (test.split, test.cost, test.metric) == ("test", None, None)
    assert (validation.cost, validation.metric) == (np.inf, 0.5)
    run = store.run(run_id)
    assert (run.cost, run.best_cost) == (None, float(np.float32(0.1)))
    assert (run.state, run.stop_reason, run.ended) == ("finished", "diverged", True)
    assert run.finished_at is not None


def test_small_runs_have_a_row_for_each_coordinate(store: Store, claimed: Callable[..., Claim]) -> None:
    claim = claimed(1)
    run_id = claim.runs[0].id
    coordinates = [("w", "0,0"), ("w", "0,1"), ("b", "")]
    parameters = np.arange(6, dtype=np.float32).reshape(2, 3)
    rows = DerivativeRows(run_id, 3, coordinates, parameters, parameters * 2, parameters * np.nan)
    store.commit(claim, CommitBatch(60.0, derivatives=[rows]))
    query = text("SELECT derivative FROM derivatives WHERE step = 4 AND tensor = 'w' AND position = '0,1'")
    with store.engine.connect() as connection:
        assert connection.execute(query).scalar_one() == 8.0
    read = store.derivatives(run_id, 4, 5)
    assert [(row.tensor, row.position, row.parameter, row.update) for row in read] == [
        ("b", "", 5.0, None),
        ("w", "0,0", 3.0, None),
        ("w", "0,1", 4.0, None),
    ]
    assert len(store.derivatives(run_id)) == 6


def test_checkpoints_that_are_not_kept_are_replaced(store: Store, claimed: Callable[..., Claim]) -> None:
    claim = claimed(2)
    one, other = (run.id for run in claim.runs)
    store.commit(claim, CommitBatch(60.0, checkpoints=[Checkpoint(other, 5, b"other", kept=False)]))
    for batch in (
        [Checkpoint(one, 10, b"ten", kept=False)],
        [Checkpoint(one, 64, b"kept"), Checkpoint(one, 70, b"seventy", kept=False)],
        [Checkpoint(one, 80, b"eighty", kept=False), Checkpoint(one, 90, b"ninety", kept=False)],
        [Checkpoint(one, 90, b"ninety again")],
    ):
        store.commit(claim, CommitBatch(60.0, checkpoints=batch))
    assert store.latest_checkpoints([one, other, "none"]) == {one: (90, b"ninety again"), other: (5, b"other")}
    found = [store.checkpoint_before(one, step) for step in (63, 64, 89, 90, 1000)]
    kept, last = (64, b"kept"), (90, b"ninety again")
    assert found == [None, kept, kept, last, last]
    assert set(store.replay_basis(one, 0, 70).digests) == {64}
    assert store.latest_checkpoints([]) == {}


@pytest.mark.parametrize(
    ("start", "stop", "first"), [(0, 4, [0]), (3, 5, [0, 4]), (4, 5, [4]), (7, 30, [4, 8]), (12, 13, [])]
)
def test_chunks_are_those_that_overlap(
    store: Store, claimed: Callable[..., Claim], start: int, stop: int, first: list[int]
) -> None:
    claim = claimed(1)
    run_id = claim.runs[0].id
    chunks = [Chunk.of(run_id, "norms", first_step, np.ones((4, 3))) for first_step in (0, 4, 8)]
    store.commit(claim, CommitBatch(60.0, chunks=chunks))
    assert [chunk.first_step for chunk in store.chunks(run_id, "norms", start, stop)] == first
    assert store.chunks(run_id, "gradient", start, stop) == []


@pytest.mark.parametrize("table", ["chunks", "checkpoints"])
def test_a_flipped_byte_in_the_database_is_found(
    store: Store, claimed: Callable[..., Claim], new_batch: Batch, table: str
) -> None:
    claim = claimed(1)
    run_id = claim.runs[0].id
    store.commit(claim, new_batch(claim, chunks=[Chunk.of(run_id, "gradient", 0, np.ones((64, 9)))]))
    stored = tables.metadata.tables[table]
    with store.engine.begin() as connection:
        payload = bytearray(connection.execute(text(f"SELECT payload FROM {table}")).scalar_one())  # noqa: S608
        payload[len(payload) // 2] ^= 1
        connection.execute(update(stored).values(payload=bytes(payload)))
    if table == "chunks":
        (chunk,) = store.chunks(run_id, "gradient", 10, 11)
        with pytest.raises(CorruptRecord, match=f"run {run_id}: gradient of steps 0 to 63: payload"):
            chunk.array(np.float64, 9)
        with pytest.raises(CorruptRecord, match="codec: must be"):
            replace(chunk, codec="new").array(np.float64, 9)
    else:
        for read in (lambda: store.latest_checkpoints([run_id]), lambda: store.checkpoint_before(run_id, 9)):
            with pytest.raises(CorruptRecord, match=f"run {run_id}: checkpoint of step 4"):
                read()


def test_the_first_fingerprint_stays(store: Store, claimed: Callable[..., Claim]) -> None:
    claim = claimed(1)
    run_id = claim.runs[0].id
    store.commit(claim, CommitBatch(60.0, {run_id: Progress(1)}))
    assert store.run(run_id).numerics is None
    for numerics in ({"blas": "one"}, None, {"blas": "two"}):
        store.commit(claim, CommitBatch(60.0, {run_id: Progress(2, numerics=numerics)}))
    assert store.run(run_id).numerics == {"blas": "one"}


def test_the_outbox_holds_what_the_mirror_has_not_confirmed(
    store: Store, claimed: Callable[..., Claim], new_batch: Batch
) -> None:
    claim = claimed(1)
    (run,) = claim.runs
    store.commit(claim, new_batch(claim))
    assert [(waiting.step, waiting.mirrored_step) for waiting in store.outbox()] == [(4, 0)]
    store.mark_mirrored(run.id, 3, "mlflow", "running")
    assert [(waiting.mirrored_step, waiting.mlflow_run_id) for waiting in store.outbox()] == [(3, "mlflow")]
    store.mark_mirrored(run.id, 4, None, "running")
    assert store.outbox() == []
    assert store.run(run.id).mlflow_run_id == "mlflow"
    store.commit(claim, CommitBatch(60.0, {run.id: Progress(4, state="finished", stop_reason="finished")}))
    # The mirror has read the run before that commit: its late confirmation must not hide the commit.
    store.mark_mirrored(run.id, 4, "mlflow", "running")
    assert [waiting.state for waiting in store.outbox()] == ["finished"]
    store.mark_mirrored(run.id, 4, "mlflow", "finished")
    assert store.outbox() == []


def test_the_longest_waiting_run_is_mirrored_first(store: Store, submitted: Callable[..., Any]) -> None:
    first, second, third = (submitted(1).runs[0].id for _ in range(3))
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE runs SET step = 5"))
    assert [run.id for run in store.outbox(2)] == [first, second]
    store.mark_mirrored(first, 1, "m1", "queued")
    assert [run.id for run in store.outbox()] == [second, third, first]


def test_a_study_remembers_its_experiment(store: Store, submitted: Callable[..., Any]) -> None:
    work = submitted(1, study="mirrored")
    store.mark_study_mirrored(work.study.id, "12")
    assert store.study("mirrored").mlflow_experiment_id == "12"


def test_a_study_counts_its_runs(store: Store, submitted: Callable[..., Any], new_batch: Batch) -> None:
    work = submitted(2, cohorts=2, study="counted")
    claim = store.claim(work.cohort, "worker", 60.0)
    assert claim is not None
    store.commit(claim, new_batch(claim, count=3))
    study = store.study("counted")
    assert (study.state, study.counts) == ("running", {"queued": 2, "running": 2})
    assert (study.runs, study.steps_done, study.steps_total) == (4, 6, 40)
    done = {run.id: Progress(10, state="finished", stop_reason="finished") for run in claim.runs}
    store.commit(claim, CommitBatch(60.0, done))
    assert store.study("counted").state == "running"


def test_a_heartbeat_beats_while_its_thread_commits(
    store: Store, claimed: Callable[..., Claim], new_batch: Batch
) -> None:
    claim, left = claimed(1), threading.Event()

    def beat() -> int:
        beats = 0
        while not left.is_set():
            store.heartbeat(claim, 60.0)
            beats += 1
        return beats

    with ThreadPoolExecutor(1) as thread:
        beats = thread.submit(beat)
        try:
            for first in range(0, 120, 4):
                store.commit(claim, new_batch(claim, first=first))
        finally:
            left.set()
        assert beats.result() > 0
    assert store.steps(claim.runs[0].id).step.tolist() == list(range(120))


def test_cohorts_commit_concurrently(store: Store, claimed: Callable[..., Claim], new_batch: Batch) -> None:
    claims = [claimed(3) for _ in range(4)]

    def train(claim: Claim) -> None:
        for first in range(0, 40, 4):
            store.commit(claim, new_batch(claim, first=first))
            store.requests(claim)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(train, claims))
    assert {run.step for run in store.runs().items} == {40}
    assert _count(store)["steps"] == 4 * 3 * 40
