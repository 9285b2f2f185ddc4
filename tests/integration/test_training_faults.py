"""What is lost, repeated or late changes nothing that is true."""

import base64
import json
import pickle
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from talweg.errors import LeaseLost
from talweg.spec import RunSpec
from talweg.store import CommitBatch

if TYPE_CHECKING:
    from tests.integration.conftest import Stack

Eventually = Callable[[Callable[[], bool], str], None]

SHORT = RunSpec.model_validate({"problem": "wine-mlp", "optimizer": "adam", "steps": 50})
LONG = RunSpec.model_validate({"problem": "digits-mlp", "optimizer": "adam", "steps": 50_000, "batch_size": 500})


def test_a_broker_that_is_gone_at_submission_delays_the_run_and_loses_nothing(any_stack: "Stack") -> None:
    any_stack.broker.kill()
    run = any_stack.submit(SHORT)
    assert run.state == "queued"
    assert any_stack.store.cohort(run.cohort_id).published_at is None
    any_stack.broker.start()
    any_stack.start_worker()
    any_stack.start_reconciler()
    assert any_stack.wait(run).step == SHORT.steps


def test_a_broker_that_forgets_everything_loses_nothing(stack: "Stack") -> None:
    runs = [stack.submit(SHORT.model_copy(update={"seed": seed})) for seed in range(3)]
    with stack.broker.client() as client:
        client.flushall()
    stack.start_worker()
    stack.start_reconciler()
    for run in runs:
        stack.wait(run)


def test_ten_deliveries_at_once_give_one_result(any_stack: "Stack", eventually: Eventually) -> None:
    run = any_stack.submit(SHORT)
    for _ in range(9):
        any_stack.publish(run.cohort_id)
    workers = [any_stack.start_worker(), any_stack.start_worker()]
    any_stack.wait(run)
    eventually(lambda: any_stack.messages() == 0, "the queue to be empty")
    for worker in workers:
        # On a busy machine one may still be starting when the other has done it all: then it ends by the signal.
        assert worker.terminate() in (0, -signal.SIGTERM)
    assert any_stack.store.cohort(run.cohort_id).fence == 1
    assert any_stack.store.steps(run.id).step.tolist() == list(range(SHORT.steps))


def test_a_worker_that_was_paused_past_its_lease_writes_nothing_more(
    any_stack: "Stack", eventually: Eventually
) -> None:
    stale = any_stack.start_worker()
    run = any_stack.submit(LONG)
    any_stack.wait_step(run, 100)
    stale.pause(any_stack.url)
    claim = None

    def taken() -> bool:
        nonlocal claim
        claim = any_stack.store.claim(run.cohort_id, "another", 3600)
        return claim is not None

    eventually(taken, "the lease to run out")
    before = any_stack.store.run(run.id)
    stale.signal(signal.SIGCONT)
    eventually(lambda: stale.says("lease lost"), "the stale worker to notice")
    assert any_stack.store.run(run.id) == before
    # Whoever holds the cohort now can still write.
    assert claim is not None
    any_stack.store.commit(claim, CommitBatch(lease_seconds=60))
    stolen = any_stack.store.claim(run.cohort_id, "a third", 60)
    assert stolen is None


def test_a_cancelled_run_stops_at_a_commit_and_its_neighbours_go_on(any_stack: "Stack") -> None:
    any_stack.start_worker()
    run = any_stack.submit(LONG)
    any_stack.wait_step(run, 100)
    any_stack.store.request_cancel([run.id])
    ended = any_stack.wait(run, "cancelled")
    assert ended.stop_reason == "cancelled"
    assert 100 <= ended.step < LONG.steps
    assert len(any_stack.store.steps(run.id)) == ended.step
    # The worker is free again.
    any_stack.wait(any_stack.submit(SHORT))


def test_one_worker_of_two_is_killed_and_the_other_does_the_work(stack: "Stack", eventually: Eventually) -> None:
    stack.start_reconciler()
    workers = [stack.start_worker(), stack.start_worker()]
    runs = [
        stack.submit(LONG.model_copy(update={"seed": seed, "steps": 1500, "batch_size": 1000})) for seed in range(2)
    ]
    for run in runs:
        stack.wait_step(run, 50)
    # Both are at work, so neither held back what the other could have done.
    owners = {stack.store.cohort(run.cohort_id).owner for run in runs}
    assert len(owners) == 2
    workers[0].kill()
    for run in runs:
        stack.wait(run)


def test_a_forged_message_changes_nothing_and_the_worker_lives(stack: "Stack", eventually: Eventually) -> None:
    worker = stack.start_worker()
    done = stack.wait(stack.submit(SHORT))
    eventually(lambda: stack.store.cohort(done.cohort_id).state == "finished", "the cohort to be left")
    cohort = stack.store.cohort(done.cohort_id)
    canary = stack.folder / "canary"
    forge = stack.celery.send_task
    stack.celery.control.broadcast("shutdown")
    forge("talweg.train", args=["no such id"])
    forge("talweg.train", args=[{"an": "object"}])
    forge("talweg.train", args=[done.cohort_id, "one too many"])
    forge("talweg.train", args=[done.cohort_id])
    forge("talweg.unknown", args=["x"])
    forge("celery.map", args=[{"task": "talweg.train"}, ["x"]])
    # Unpickling it makes a folder: os.mkdir(canary).
    pickled = f"cos\nmkdir\n(V{canary}\ntR.".encode()
    with stack.celery.connection_for_write() as connection:
        connection.SimpleQueue("talweg.train").put(pickled, content_type="application/x-python-serialize")
    stack.wait(stack.submit(SHORT.model_copy(update={"seed": 1})))
    assert worker.process.poll() is None
    assert stack.store.run(done.id) == done
    assert stack.store.cohort(done.cohort_id) == cohort
    assert not canary.exists()
    # It would have: the trap works.
    pickle.loads(pickled)  # noqa: S301 - our own
    assert canary.is_dir()


@pytest.mark.parametrize("field", ["callbacks", "chain"])
def test_a_forged_callback_runs_nothing(stack: "Stack", field: str) -> None:
    victim = stack.submit(SHORT)
    with stack.broker.client() as client:
        client.flushall()
    follow: dict[str, object] = {
        "task": "talweg.train",
        "args": [victim.cohort_id],
        "kwargs": {},
        "options": {},
        "subtask_type": None,
        # Else it would get what the first task returned as one argument too many.
        "immutable": True,
    }
    embedded = {"callbacks": None, "errbacks": None, "chain": None, "chord": None, field: [follow]}
    carrier = stack.store.cohort(stack.submit(SHORT.model_copy(update={"seed": 1})).cohort_id)
    with stack.broker.client() as client:
        (message,) = client.lrange("talweg.train", 0, -1)
        forged = json.loads(message)
        body = json.loads(base64.b64decode(forged["body"]))
        body[2] = embedded
        forged["body"] = base64.b64encode(json.dumps(body).encode()).decode()
        client.delete("talweg.train")
        client.lpush("talweg.train", json.dumps(forged))
    worker = stack.start_worker()
    (run,) = [run for run in stack.store.runs().items if run.cohort_id == carrier.id]
    stack.wait(run)
    assert worker.terminate() == 0
    assert stack.messages() == 0
    assert stack.store.run(victim.id).state == "queued"


def test_a_late_finisher_does_not_touch_a_cohort_that_was_given_up(stack: "Stack") -> None:
    run = stack.submit(SHORT)
    claim = stack.store.claim(run.cohort_id, "late", 60)
    assert claim is not None
    assert stack.store.fail(claim, "Traceback: it broke", 1) == "quarantined"
    with pytest.raises(LeaseLost):
        stack.store.finish(claim)
    ended = stack.store.run(run.id)
    assert (ended.state, ended.error) == ("failed", "Traceback: it broke")
