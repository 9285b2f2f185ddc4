"""An unreachable, locked or full database ends no training for good, and one bad run fails alone."""

import logging
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event

from talweg.errors import Unreachable
from talweg.execution import train
from talweg.execution.writer import DatabaseRetry
from talweg.settings import Settings
from talweg.spec import RunSpec, StudySpec
from talweg.store import RunRow, Store, StudyRow, open_store
from talweg_core import Cohort

Submit = Callable[[RunSpec], RunRow]


def test_calls_to_an_unreachable_database_are_retried(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[bool] = []

    def unreachable(again: bool) -> str:
        asked.append(again)
        if len(asked) < 3:
            raise Unreachable("database: the server closed the connection")
        return "answer"

    with caplog.at_level(logging.WARNING):
        assert DatabaseRetry(60.0, "cohort-1")(unreachable) == "answer"
    assert asked == [False, True, True]
    assert caplog.text.count("database call retried") == 2
    assert caplog.text.count("cohort-1") >= 2


def test_retries_end_with_the_reason() -> None:
    def unreachable(_: bool) -> None:
        raise Unreachable("database: the server closed the connection")

    with pytest.raises(Unreachable, match="closed the connection"):
        DatabaseRetry(0.2, "cohort")(unreachable)


def test_a_worker_that_is_to_stop_does_not_retry() -> None:
    asked: list[bool] = []

    def unreachable(again: bool) -> None:
        asked.append(again)
        raise Unreachable("database: the server closed the connection")

    with pytest.raises(Unreachable):
        DatabaseRetry(60.0, "cohort", leave=lambda: True)(unreachable)
    assert asked == [False]


def test_other_errors_are_raised_at_once() -> None:
    def broken(_: bool) -> None:
        raise ValueError("no database's fault")

    with pytest.raises(ValueError, match="no database's fault"):
        DatabaseRetry(60.0, "cohort")(broken)


def test_a_file_that_another_process_locks_delays_the_training_alone(
    sqlite_url: str,
    settings: Settings,
    spec: Callable[..., RunSpec],
    held: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from talweg.execution import submit_run

    # SQLite itself would wait for 30 s; here its calls fail soon, and the worker retries them.
    monkeypatch.setattr("talweg.store.engine._BUSY_SECONDS", 0.05)
    asked = spec(steps=3000, record="replay")
    with open_store(sqlite_url) as store:
        run = submit_run(store, asked, publish=lambda _: None, settings=settings)
        trains, locked, never = threading.Event(), threading.Event(), threading.Event()

        def lock_for_a_while() -> None:
            intruder = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), timeout=60, isolation_level=None)
            trains.wait(60)
            intruder.execute("BEGIN EXCLUSIVE")
            locked.set()
            while "database call retried" not in caplog.text:
                never.wait(0.01)
            intruder.execute("ROLLBACK")
            intruder.close()

        def once_it_trains() -> bool:
            if not locked.is_set() and store.run(run.id).step:
                trains.set()
                locked.wait(60)
            return False

        thread = threading.Thread(target=lock_for_a_while)
        thread.start()
        with caplog.at_level(logging.WARNING):
            outcome = train(store, run.cohort_id, owner="test", settings=settings, leave=once_it_trains)
        thread.join(60)
        assert outcome == "finished"
        assert locked.is_set()
        assert "database is locked" in caplog.text
        assert store.steps(run.id).cost.tobytes() == held(asked).costs.tobytes()


def test_a_full_disk_stops_a_run_with_that_reason_and_space_lets_it_go_on(
    sqlite_url: str, settings: Settings, spec: Callable[..., RunSpec], held: Any
) -> None:
    from talweg.execution import submit_run

    asked = spec(record="full", steps=400)
    hasty = settings.model_copy(update={"store_retry_seconds": 0.0})
    with open_store(sqlite_url) as store:
        run = submit_run(store, asked, publish=lambda _: None, settings=settings)
        pages = 0

        def no_larger(connection: sqlite3.Connection, _: object) -> None:
            if pages:
                connection.execute(f"PRAGMA max_page_count={pages}")

        event.listen(store.engine, "connect", no_larger)
        with store.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one() + 10
        store.engine.dispose()
        for _ in range(hasty.max_attempts + 1):
            # However often: the attempt does not count.
            assert train(store, run.cohort_id, owner="test", settings=hasty) == "stopped"
        cohort = store.cohort(run.cohort_id)
        assert cohort.state == "queued"
        assert cohort.attempts < hasty.max_attempts
        assert "full" in str(cohort.error)
        pages = 0
        store.engine.dispose()
        assert train(store, run.cohort_id, owner="test", settings=settings) == "finished"
        assert store.cohort(run.cohort_id).error is None
        assert store.steps(run.id).cost.tobytes() == held(asked).costs.tobytes()


def test_an_answer_that_was_lost_writes_no_step_twice(
    store: Store,
    submit: Submit,
    settings: Settings,
    spec: Callable[..., RunSpec],
    held: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commit = Store.commit
    lost: list[int] = []

    def silent(self: Store, claim: Any, batch: Any, *, again: bool = False) -> None:
        commit(self, claim, batch, again=again)
        if not again:
            lost.append(len(batch.steps))
            raise Unreachable("database: the connection was lost before the answer came")

    monkeypatch.setattr(Store, "commit", silent)
    asked = spec()
    run = submit(asked)
    assert train(store, run.cohort_id, owner="test", settings=settings) == "finished"
    assert lost
    assert store.steps(run.id).step.tolist() == list(range(asked.steps))
    assert store.steps(run.id).cost.tobytes() == held(asked).costs.tobytes()


def test_a_claim_whose_answer_was_lost_goes_on_at_once(
    store: Store, submit: Submit, settings: Settings, spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = Store.claim
    asked: list[Any] = []

    def silent(self: Store, *arguments: Any, **named: Any) -> Any:
        asked.append(claim(self, *arguments, **named))
        if len(asked) == 1:
            raise Unreachable("database: the connection was lost before the answer came")
        return asked[-1]

    monkeypatch.setattr(Store, "claim", silent)
    run = submit(spec())
    assert train(store, run.cohort_id, owner="test", settings=settings) == "finished"
    assert [made.fence for made in asked] == [1, 1]
    assert store.cohort(run.cohort_id).fence == 1


def test_one_bad_run_does_not_fail_its_cohort(
    store: Store,
    submitted_study: Callable[[StudySpec], StudyRow],
    settings: Settings,
    held: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    advance = Cohort.advance

    def explode(self: Cohort) -> Any:
        if 2 in self.seeds and self.step == 100:
            raise FloatingPointError("seed 2 breaks at step 100")
        return advance(self)

    monkeypatch.setattr(Cohort, "advance", explode)
    study = submitted_study(
        StudySpec.model_validate({"problem": "wine-mlp", "optimizers": ["adam"], "seeds": 5, "steps": 150})
    )
    while waiting := store.unpublished(0.0):
        for cohort in waiting:
            train(store, cohort, owner="test", settings=settings)
    runs = store.runs_of(study.id)
    assert [run.state for run in runs] == ["finished", "finished", "failed", "finished", "finished"]
    assert "seed 2 breaks at step 100" in str(runs[2].error)
    for run in (runs[0], runs[3]):
        assert store.steps(run.id).cost.tobytes() == held(RunSpec.model_validate(run.spec)).costs.tobytes()


def test_an_unpaused_run_has_the_same_bits_and_the_other_run_did_not_wait(
    store: Store, submitted_study: Callable[[StudySpec], StudyRow], settings: Settings, held: Any
) -> None:
    spec = {"problem": "wine-mlp", "optimizers": ["adam"], "seeds": 2, "steps": 3000, "record": "replay"}
    one, other = store.runs_of(submitted_study(StudySpec.model_validate(spec)).id)
    asked = False

    def ask_meanwhile() -> bool:
        nonlocal asked
        if not asked and store.run(one.id).step:
            store.request_pause([one.id])
            asked = True
        return False

    assert train(store, one.cohort_id, owner="test", settings=settings, leave=ask_meanwhile) == "released"
    assert train(store, other.cohort_id, owner="test", settings=settings) == "finished"
    paused = store.run(one.id)
    assert (paused.state, paused.paused) == ("queued", True)
    assert 0 < paused.step < 3000
    assert store.run(other.id).state == "finished"
    (cohort,) = store.unpause([one.id])
    assert train(store, cohort, owner="test", settings=settings) == "finished"
    assert store.steps(one.id).cost.tobytes() == held(RunSpec.model_validate(one.spec)).costs.tobytes()
