"""The number of workers that wait for messages, as the broker reports it."""

import threading
from collections.abc import Callable
from typing import Any

import redis

from talweg.queue import QUEUE, create_app, listeners

# The fixtures' classes are in conftest.py, which no test imports.
Broker = Any
Eventually = Callable[[Callable[[], bool], str], None]


def test_a_broker_reports_the_listeners_of_our_database(broker: Broker, eventually: Eventually) -> None:
    app = create_app(lambda: broker.url)
    socket = str(broker.socket)

    def found() -> int | None:
        return listeners(through=app)

    assert found() == 0
    with broker.client() as sender, broker.client() as here, redis.Redis(unix_socket_path=socket, db=1) as elsewhere:
        waiting = [
            threading.Thread(target=client.brpop, args=([QUEUE],), kwargs={"timeout": 60})
            for client in (here, elsewhere)
        ]
        for thread in waiting:
            thread.start()
        eventually(lambda: sender.info()["blocked_clients"] == 2, "both to listen")
        assert found() == 1
        sender.lpush(QUEUE, "a message")
        waiting[0].join(timeout=600)
        # A client that took a message and sends another command listens no more.
        here.ping()
        assert found() == 0
        sender.execute_command("SELECT", 1)
        sender.lpush(QUEUE, "a message")
        waiting[1].join(timeout=600)
        sender.execute_command("ACL", "SETUSER", "default", "-client|list")
        assert found() is None
    app.close()
