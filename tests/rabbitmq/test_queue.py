"""RabbitMQ instead of Valkey, by its URL, with the same guarantees."""

from collections.abc import Callable
from typing import Any

import pytest

from talweg.errors import Unreachable
from talweg.spec import RunSpec

# Erlang starts slowly on a busy machine.
pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(600)]

Eventually = Callable[[Callable[[], bool], str], None]
SHORT = RunSpec.model_validate({"problem": "wine-mlp", "optimizer": "adam", "steps": 50})
LONG = RunSpec.model_validate({"problem": "digits-mlp", "optimizer": "adam", "steps": 2000, "batch_size": 500})


def test_runs_are_trained_and_the_queue_is_counted(laboratory: Any, eventually: Eventually) -> None:
    runs = [laboratory.submit(SHORT.model_copy(update={"seed": seed})) for seed in range(3)]
    eventually(lambda: laboratory.messages() == 3, "three messages")
    worker = laboratory.start("worker")
    for run in runs:
        assert laboratory.wait(run).step == SHORT.steps
    assert laboratory.messages() == 0
    worker.terminate()
    assert worker.wait(120) == 0


def test_ten_deliveries_give_one_result(laboratory: Any, eventually: Eventually) -> None:
    run = laboratory.submit(SHORT)
    for _ in range(9):
        laboratory.publish(run.cohort_id)
    laboratory.start("worker")
    laboratory.start("worker")
    laboratory.wait(run)
    eventually(lambda: laboratory.messages() == 0, "the queue to be empty")
    assert laboratory.store.cohort(run.cohort_id).fence == 1


def test_a_run_of_a_killed_worker_has_each_step_once(laboratory: Any, eventually: Eventually) -> None:
    laboratory.start("reconciler")
    first = laboratory.start("worker")
    run = laboratory.submit(LONG)
    eventually(lambda: laboratory.store.run(run.id).step >= 100, "a hundred steps")
    first.kill()
    laboratory.start("worker")
    laboratory.wait(run)
    assert laboratory.store.steps(run.id).step.tolist() == list(range(LONG.steps))


def test_a_killed_broker_loses_nothing(laboratory: Any, rabbitmq: Any, eventually: Eventually) -> None:
    laboratory.start("reconciler")
    laboratory.start("worker")
    long = laboratory.submit(LONG)
    eventually(lambda: laboratory.store.run(long.id).step >= 100, "a hundred steps")
    waiting = laboratory.submit(SHORT)
    rabbitmq.kill()
    with pytest.raises(Unreachable):
        laboratory.publish(waiting.cohort_id)
    unpublished = laboratory.submit(SHORT.model_copy(update={"seed": 1}))
    assert laboratory.store.cohort(unpublished.cohort_id).published_at is None
    rabbitmq.start()
    for run in (long, waiting, unpublished):
        laboratory.wait(run)
