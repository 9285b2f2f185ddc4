"""The Celery app. A message names one task and holds one id; the state is in SQL.

The broker may lose or repeat any message. So no code here waits for a result, retries for long or revokes a message: a
claim with a fence makes repeated messages harmless, and the reconciler publishes lost ones again.
"""

import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from celery import Celery, Task
from kombu import Connection
from kombu.exceptions import OperationalError

from talweg.errors import DiskFull, InvalidSpec, TalwegError, Unreachable
from talweg.settings import settings

_CHECKS = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}
QUEUE = "talweg.train"
TRAIN = "talweg.train"


def broker_settings(url: str) -> dict[str, Any]:
    """Celery's `broker_url`, and `broker_use_ssl` where it needs one.

    In the query of a rediss:// or amqps:// URL: ssl_ca_certs, ssl_certfile and ssl_keyfile are paths, ssl_cert_reqs is
    required (the default), optional or none. Raises InvalidSpec for another value; the message leaves out the URL,
    which may hold a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("rediss", "amqps"):
        return {"broker_url": url}
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    check = query.setdefault("ssl_cert_reqs", "required")
    if check not in _CHECKS:
        raise InvalidSpec(f"broker_url: ssl_cert_reqs must be one of {', '.join(_CHECKS)}, got {check!r}")
    if parts.scheme == "rediss":
        return {"broker_url": urlunsplit(parts._replace(query=urlencode(query)))}
    own = {name: query.pop(name) for name in sorted(query) if name.startswith("ssl_")}
    options: dict[str, Any] = {"cert_reqs": _CHECKS[own.pop("ssl_cert_reqs")]}
    options |= {name.removeprefix("ssl_"): value for name, value in own.items()}
    if options["cert_reqs"] != ssl.CERT_NONE:
        options["server_hostname"] = parts.hostname
    return {"broker_url": urlunsplit(parts._replace(query=urlencode(query))), "broker_use_ssl": options}


class PlainTask(Task):  # type: ignore[type-arg]  # generic in its stubs only
    """A task that runs its own function, and ignores what else a message requests."""

    # By name: only a worker imports it.
    Request = "talweg.execution.tasks:AcknowledgingRequest"

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Drop callbacks, chains and chords: whoever can write to the broker must not start other tasks with them."""
        self.request.update(callbacks=None, errbacks=None, chain=None, chord=None, group=None)


def create_app(broker_url: Callable[[], str]) -> Celery:
    """A Celery app on the broker that `broker_url` returns; it is called at first use, not before."""
    # Celery would prefer these variables to the settings below, for example the broker's URL.
    for name in [name for name in os.environ if name.startswith("CELERY_")]:
        del os.environ[name]
    app: Celery = Celery("talweg", set_as_current=False, task_cls=PlainTask, fixups=[])
    app.add_defaults(lambda: configuration(broker_url()))
    # Celery's own tasks (celery.map, celery.chain …) run other tasks by name. Our messages need none of them.
    app.on_after_finalize.connect(_drop_builtin_tasks, weak=False)
    return app


def configuration(broker_url: str) -> dict[str, Any]:
    """Celery's settings; the design documentation has the measurements behind each."""
    return {
        **broker_settings(broker_url),
        "broker_connection_max_retries": None,
        "broker_connection_retry_on_startup": True,
        # Valkey's refusal while its disk is full is a channel error: the worker retries instead of ending.
        "broker_channel_error_retry": True,
        "broker_transport_options": {
            "visibility_timeout": 3600,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "socket_timeout": 10,
            "socket_keepalive": True,
            "socket_keepalive_options": _keepalive(),
        },
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_backend": None,
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "task_default_queue": QUEUE,
        # Acknowledged at its start: no timeout delivers a long task twice, and a task that is lost with its worker is
        # published again when its lease runs out.
        "task_acks_late": False,
        "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0.0, "interval_max": 0.2},
        # One message at a time. On Redis `disable_prefetch` alone ensures that: an additional limit counts messages
        # that are not acknowledged. One whose acknowledgement failed, since the broker was unreachable when its task
        # ended, would count for ever, and the worker would take no other.
        "worker_prefetch_multiplier": 0 if broker_url.startswith(("redis", "sentinel")) else 1,
        "worker_disable_prefetch": True,
        "worker_soft_shutdown_timeout": 10,
        # Remote control would let whoever can write to the broker stop and reconfigure workers.
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
    }


def _keepalive() -> dict[int, int]:
    """Socket options that end a connection within 20 seconds after the network was cut.

    A worker waits for a message without a time limit, and the kernel's first probe would be sent after two hours.
    """
    wanted = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 20_000}
    # Some systems lack some of these.
    return {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}


def publish(cohort_id: str, *, through: Celery | None = None) -> None:
    """Send a message that a cohort waits. Call it after the transaction that wrote the cohort.

    Raises:
        Unreachable: The broker does not take the message; the reconciler will publish the cohort.
    """
    try:
        (through or _own()).send_task(TRAIN, args=[cohort_id], ignore_result=True)
    except OperationalError as error:
        raise _unreachable(f"does not take cohort {cohort_id}", error) from error


def depth(*, through: Celery | None = None) -> int:
    """The number of messages that wait for a worker; raises Unreachable."""
    with _connected(through) as connection:
        channel: Any = connection.default_channel
        try:
            return int(channel.queue_declare(queue=QUEUE, passive=True).message_count)
        except connection.channel_errors:
            # The queue is created by the first worker or message.
            return 0


@contextmanager
def _connected(through: Celery | None) -> Iterator[Connection]:
    try:
        with (through or _own()).connection_for_read() as connection:
            yield connection
    except OperationalError as error:
        raise _unreachable("does not answer", error) from error


def _unreachable(what: str, error: OperationalError) -> Unreachable:
    # Valkey and Redis refuse all writes while they cannot write their file.
    kind = DiskFull if "No space left on device" in str(error) else Unreachable
    return kind(f"broker: {what}: {error}")


def listeners(*, through: Celery | None = None) -> int | None:
    """The number of workers that wait for a message; None where the broker does not report it. Raises Unreachable."""
    with _connected(through) as connection:
        channel: Any = connection.default_channel
        kind = connection.transport.driver_type
        try:
            if kind == "amqp":
                return int(channel.queue_declare(queue=QUEUE, passive=True).consumer_count)
            if kind == "redis":
                # Redis counts no consumers; a worker that waits is in BRPOP, and sends no other command in between.
                database = str(channel.client.connection_pool.connection_kwargs.get("db", 0))
                clients = channel.client.client_list()
                return sum(1 for client in clients if client["cmd"] == "brpop" and client["db"] == database)
        except connection.channel_errors:
            # The queue does not exist yet; or this account may not list clients.
            return 0 if kind == "amqp" else None
        return None


def _drop_builtin_tasks(sender: Celery, **_: Any) -> None:
    for name in [name for name in sender.tasks if name.startswith("celery.")]:
        sender.tasks.pop(name)


def _configured_broker() -> str:
    url = settings().broker_url
    if url is None:
        raise TalwegError("broker: TALWEG_BROKER_URL is not set; set it, or broker_url in talweg.toml")
    return url.get_secret_value()


def _own() -> Celery:
    # Checked each time: Celery drops a default that raised once, and then connects to a broker on localhost.
    _configured_broker()
    return app


app = create_app(_configured_broker)
