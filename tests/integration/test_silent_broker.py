"""A broker that is unreachable when a worker ends its cohort."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from talweg.spec import RunSpec

if TYPE_CHECKING:
    from tests.integration.conftest import Stack

Eventually = Callable[[Callable[[], bool], str], None]

SPEC = RunSpec.model_validate({"problem": "digits-mlp", "optimizer": "adam", "steps": 600, "batch_size": 500})


def test_a_worker_whose_broker_was_away_at_the_end_takes_the_next_message(
    stack: "Stack", eventually: Eventually
) -> None:
    """It took none ever again: its acknowledgement was lost, and the message counted as one in hand for good."""
    worker = stack.start_worker()
    first = stack.submit(SPEC)
    stack.wait_step(first, 1)
    stack.broker.kill()
    stack.wait(first)
    said = ("Couldn't ack", "Connection to broker lost")
    eventually(lambda: any(worker.says(words) for words in said), "the worker to miss its broker")
    stack.broker.start()
    second = stack.submit(SPEC.model_copy(update={"seed": 1, "steps": 10}))
    assert stack.wait(second).step == 10
