"""A broker that cannot write its file refuses every message; workers and the API outlast that."""

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
    """Its next file is a device on which there is never room; without root, and on any machine."""
    (broker.folder / "appendonlydir" / "appendonly.aof.2.incr.aof").symlink_to("/dev/full")
    with broker.client() as client:
        client.bgrewriteaof()
        eventually(lambda: not client.info("persistence")["aof_rewrite_in_progress"], "the new file")
        client.set("anything", "it is written when this is answered")
        eventually(lambda: client.info("persistence")["aof_last_write_status"] == "err", "the full disk to be noticed")


def make_room(broker: "Broker", eventually: Eventually) -> None:
    """A file that is none of the device's."""
    with broker.client() as client:
        client.config_set("appendonly", "no")
        client.config_set("appendonly", "yes")
        eventually(lambda: client.info("persistence")["aof_last_write_status"] == "ok", "room")


def test_a_broker_whose_disk_is_full_says_so_and_a_worker_waits_for_room(
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
    make_room(stack.broker, eventually)
    ended = stack.wait(stack.submit(SHORT))
    assert ended.step == SHORT.steps
    # The same worker took it up.
    assert worker.process.poll() is None
    assert "Unrecoverable" not in worker.log.read_text()
