"""A writer process writes what its worker would have written, reports errors, and ends with its worker."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import pytest
from sqlalchemy import select

from talweg.errors import LeaseLost
from talweg.execution import train
from talweg.execution.writer_process import WriterProcess, WriterProcessFailed, WriterProcessLost
from talweg.settings import Settings
from talweg.spec import RunSpec, StudySpec
from talweg.store import RunRow, Store, StudyRow, tables
from talweg_core import numerics

Submit = Callable[[RunSpec], RunRow]
Until = Callable[[Callable[[], bool], str], None]
# All columns but ids and times.
RECORDED = {
    tables.steps: ("step", "cost", "learning_rate", "gradient_norm", "parameter_norm", "update_norm"),
    tables.evaluations: ("step", "split", "cost", "metric"),
    tables.derivatives: ("step", "tensor", "position", "parameter", "derivative", "update"),
    tables.checkpoints: ("step", "kept", "digest", "payload"),
}


@pytest.fixture
def writer_process(store: Store) -> Iterator[WriterProcess]:
    """A writer process of the test's store."""
    with WriterProcess(store.engine.url.render_as_string(hide_password=False)) as started:
        started.start()
        yield started


def kill(writer_process: WriterProcess, number: int) -> None:
    assert writer_process.pid is not None
    os.kill(writer_process.pid, number)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def recorded(store: Store, run: RunRow) -> list[list[Any]]:
    """The rows that the run recorded."""
    found = []
    with store.engine.connect() as connection:
        for table, names in RECORDED.items():
            query = select(*(table.c[name] for name in names)).where(table.c.run_id == run.id)
            found.append(connection.execute(query.order_by(*(table.c[name] for name in names[:3]))).all())
        chunks = tables.chunks.c
        # Times differ between trainings, and the number of steps in a chunk of columns depends on the clock.
        query = select(chunks.quantity, chunks.first_step, chunks.digest, chunks.payload)
        kept = query.where(chunks.run_id == run.id, chunks.quantity.in_(["gradient", "parameters"]))
        found.append(connection.execute(kept.order_by(chunks.quantity, chunks.first_step)).all())
    return [list(map(tuple, rows)) for rows in found]


@pytest.mark.parametrize("changed", [{"record": "full"}, {"record": "replay"}, {"problem": "rosenbrock"}])
def test_it_writes_what_the_worker_would(
    store: Store, writer_process: WriterProcess, submit: Submit, spec: Callable[..., RunSpec], changed: dict[str, str]
) -> None:
    # One commit at the end, so that nothing depends on the clock.
    settings = Settings().model_copy(update={"workers": 1, "commit_seconds": 1e6})
    alone, process = submit(spec(**changed)), submit(spec(**changed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("talweg.execution.recorder._FIRST_COMMIT", 1e6)
        assert train(store, alone.cohort_id, owner="t", settings=settings) == "finished"
        assert (
            train(store, process.cohort_id, owner="t", settings=settings, writer_process=writer_process) == "finished"
        )
    assert recorded(store, process) == recorded(store, alone)
    assert recorded(store, process)[0]
    one, other = store.run(alone.id), store.run(process.id)
    assert (one.state, one.stop_reason, one.step, one.cost, one.best_cost, one.numerics) == (
        other.state, other.stop_reason, other.step, other.cost, other.best_cost, other.numerics,
    )  # fmt: skip
    assert store.samples(process.cohort_id)[-1].memory > 0


def test_it_serves_one_claim_after_another_and_every_run_of_it(
    store: Store,
    writer_process: WriterProcess,
    submitted_study: Callable[[StudySpec], StudyRow],
    settings: Settings,
) -> None:
    for rate in (0.01, 1e30):
        rules = [{"name": "sgd", "learning_rate": rate}, {"name": "sgd", "learning_rate": 0.02}]
        asked = {"problem": "diabetes-linear", "optimizers": rules, "seeds": 2, "steps": 150, "name": f"at {rate}"}
        study = submitted_study(StudySpec.model_validate(asked))
        for cohort_id in {run.cohort_id for run in store.runs_of(study.id)}:
            assert train(store, cohort_id, owner="t", settings=settings, writer_process=writer_process) == "finished"
        reasons = {run.stop_reason for run in store.runs_of(study.id)}
        assert reasons == ({"finished"} if rate < 1 else {"finished", "diverged"})


def test_requests_for_runs_reach_their_worker(
    store: Store, writer_process: WriterProcess, submit: Submit, settings: Settings, spec: Callable[..., RunSpec]
) -> None:
    run = submit(spec(steps=100_000, record="replay"))
    asked = iter(range(100_000))

    def cancel() -> bool:
        if next(asked) == 500:
            store.request_cancel([run.id])
        return False

    outcome = train(store, run.cohort_id, owner="t", settings=settings, leave=cancel, writer_process=writer_process)
    assert outcome == "finished"
    run = store.run(run.id)
    assert (run.state, run.stop_reason) == ("cancelled", "cancelled")
    assert 500 <= run.step < 100_000


def test_a_lost_claim_is_refused_with_lease_lost(
    store: Store, writer_process: WriterProcess, submit: Submit, settings: Settings, spec: Callable[..., RunSpec]
) -> None:
    run = submit(spec(steps=100_000, record="replay"))
    asked = iter(range(100_000))

    def pass_on() -> bool:
        if next(asked) == 500:
            with store.engine.begin() as connection:
                connection.execute(tables.cohorts.update().values(fence=tables.cohorts.c.fence + 1))
        return False

    outcome = train(store, run.cohort_id, owner="t", settings=settings, leave=pass_on, writer_process=writer_process)
    assert outcome == "lost"
    # The writer process serves the next claim.
    other = submit(spec())
    assert train(store, other.cohort_id, owner="t", settings=settings, writer_process=writer_process) == "finished"


def test_a_killed_writer_process_is_as_a_killed_worker_and_another_follows(
    store: Store,
    writer_process: WriterProcess,
    submit: Submit,
    settings: Settings,
    spec: Callable[..., RunSpec],
    until: Until,
) -> None:
    asked = spec(steps=3000, record="replay")
    run, whole = submit(asked), submit(asked)
    calls = iter(range(100_000))

    def strike() -> bool:
        if next(calls) == 1500:
            kill(writer_process, signal.SIGKILL)
        return False

    hasty = settings.model_copy(update={"lease_seconds": 0.5, "heartbeat_seconds": 0.1})
    assert train(store, run.cohort_id, owner="t", settings=hasty, leave=strike, writer_process=writer_process) == "lost"
    # Its lease must run out before another worker claims it.
    assert store.cohort(run.cohort_id).state == "leased"
    until(lambda: bool(store.requeue_expired(5)), "the lease to run out")
    assert train(store, run.cohort_id, owner="t", settings=settings, writer_process=writer_process) == "finished"
    assert train(store, whole.cohort_id, owner="t", settings=settings, writer_process=writer_process) == "finished"
    assert store.steps(run.id).cost.tobytes() == store.steps(whole.id).cost.tobytes()
    assert store.checkpoint_before(run.id, 3000) == store.checkpoint_before(whole.id, 3000)


def test_an_unexpected_error_has_its_traceback(
    store: Store, writer_process: WriterProcess, submit: Submit, settings: Settings, spec: Callable[..., RunSpec]
) -> None:
    run = submit(spec())
    claim = store.claim(run.cohort_id, "t", 60)
    assert claim is not None
    segments = writer_process.open(claim, claim.runs, every=64, numerics=numerics.fingerprint(), lease_seconds=60)
    with pytest.raises(WriterProcessFailed, match=r"(?s)Traceback.*KeyError"):
        writer_process.request("take", {"arrays": []})
    # The process still answers.
    assert not segments.requests().pause
    store.release(claim)
    with pytest.raises(LeaseLost):
        segments.commit(again=False)


def test_an_interrupted_request_gets_no_other_requests_answer(
    store: Store, writer_process: WriterProcess, submit: Submit, settings: Settings, spec: Callable[..., RunSpec]
) -> None:
    run = submit(spec())
    claim = store.claim(run.cohort_id, "t", 60)
    assert claim is not None
    segments = writer_process.open(claim, claim.runs, every=64, numerics={}, lease_seconds=60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("talweg.execution.writer_process.json.loads", interrupted)
        with pytest.raises(KeyboardInterrupt):
            segments.requests()
    with pytest.raises(WriterProcessLost):
        segments.requests()
    store.release(claim)
    # The next claim has another process.
    assert train(store, run.cohort_id, owner="t", settings=settings, writer_process=writer_process) == "finished"


def test_signals_are_ignored(writer_process: WriterProcess, store: Store, submit: Submit, spec: Any) -> None:
    run = submit(spec())
    claim = store.claim(run.cohort_id, "t", 60)
    assert claim is not None
    segments = writer_process.open(claim, claim.runs, every=64, numerics={}, lease_seconds=60)
    for number in (signal.SIGINT, signal.SIGTERM):
        kill(writer_process, number)
        assert segments.requests().cancelled == frozenset()
    kill(writer_process, signal.SIGKILL)
    with pytest.raises(WriterProcessLost, match=f"process {writer_process.pid} ended before it answered"):
        segments.requests()


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), 9)", "sys.exit(0)"])
def test_it_ends_with_its_worker(sqlite_url: str, end: str, until: Until) -> None:
    worker = textwrap.dedent(f"""
        import os, sys
        from talweg.execution.writer_process import WriterProcess
        writer = WriterProcess({sqlite_url!r})
        writer.start()
        print(writer.pid, flush=True)
        sys.stdin.read()
        {end}
    """)
    line = [sys.executable, "-c", worker]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        writer_process = psutil.Process(int(process.stdout.readline()))
        until(lambda: "talweg.execution.writer_process" in writer_process.cmdline(), "the writer process")
        process.stdin.close()
        assert writer_process.wait(30) in (0, None)


def test_it_holds_no_engine_and_shows_no_password(until: Until) -> None:
    look = (
        "import sys, talweg.execution.writer_process; "
        "print(sorted({'numba', 'celery', 'talweg_core'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True).stdout == "[]\n"
    with WriterProcess("postgresql://me:secret-word@nowhere.invalid/talweg") as writer_process:
        writer_process.start()
        process = psutil.Process(writer_process.pid)
        until(lambda: "talweg.execution.writer_process" in process.cmdline(), "the writer process")
        assert "secret-word" not in f"{process.cmdline()} {process.environ()}"
