"""A broker whose disk is full refuses every message; a worker waits until there is space."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from talweg.errors import DiskFull
from talweg.queue import create_app, depth, publish
from talweg.spec import RunSpec

if TYPE_CHECKING:
    from tests.integration.conftest import Broker, Stack

Eventually = Callable[[Callable[[], bool], str], None]
SHORT = RunSpec.model_validate({"problem": "quadratic", "optimizer": "sgd", "steps": 20})


def fill(broker: "Broker", eventually: Eventually) -> None:
    """Make the broker's next file a device that is always full; needs no root."""
    (broker.folder / "appendonlydir" / "appendonly.aof.2.incr.aof").symlink_to("/dev/full")
    with broker.client() as client:
        client.bgrewriteaof()
        eventually(lambda: not client.info("persistence")["aof_rewrite_in_progress"], "the new file")
        client.set("anything", "written when the broker answers")
        eventually(lambda: client.info("persistence")["aof_last_write_status"] == "err", "the full disk to be noticed")


def free_space(broker: "Broker", eventually: Eventually) -> None:
    """Let the broker write to a new file on a real disk."""
    with broker.client() as client:
        client.config_set("appendonly", "no")
        client.config_set("appendonly", "yes")
        eventually(lambda: client.info("persistence")["aof_last_write_status"] == "ok", "space")


def test_a_full_disk_of_the_broker_is_reported_and_a_worker_waits_for_space(
    sqlite_url: str, make_stack: Callable[[str], "Stack"], eventually: Eventually
) -> None:
    stack = make_stack(sqlite_url)
    worker = stack.start_worker()
    eventually(lambda: worker.says("ready"), "the worker")
    fill(stack.broker, eventually)
    app = create_app(lambda: stack.broker.url)
    for ask in (lambda: publish("an id", through=app), lambda: depth(through=app)):
        with pytest.raises(DiskFull, match="No space left on device"):
            ask()
    eventually(lambda: worker.says("MISCONF"), "the worker to be refused")
    free_space(stack.broker, eventually)
    ended = stack.wait(stack.submit(SHORT))
    assert ended.step == SHORT.steps
    # The same worker trained it.
    assert worker.process.poll() is None
    assert "Unrecoverable" not in worker.log.read_text()
