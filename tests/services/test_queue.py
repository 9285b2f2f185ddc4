"""The Celery app: its measured settings, and nothing that a message could misuse."""

import subprocess
import sys

import pytest

from talweg.errors import TalwegError, Unreachable
from talweg.queue import configuration, create_app, depth, publish
from talweg.settings import Settings


def test_the_settings_are_those_that_were_measured() -> None:
    found = create_app(lambda: "redis://127.0.0.1:1/0").conf
    assert found.task_acks_late is False
    # None with `disable_prefetch`, which only Redis knows: a lost acknowledgement must not count for ever.
    assert found.worker_prefetch_multiplier == 0
    assert found.worker_disable_prefetch is True
    assert create_app(lambda: "amqp://127.0.0.1:1//").conf.worker_prefetch_multiplier == 1
    assert found.task_ignore_result is True
    assert found.broker_connection_max_retries is None
    assert found.broker_connection_retry_on_startup is True
    assert found.worker_soft_shutdown_timeout == 10
    assert found.worker_enable_remote_control is False
    assert found.accept_content == ["json"]
    assert found.result_backend is None
    options = dict(found.broker_transport_options)
    # A connection that is cut is noticed within 20 s.
    assert 5 in options.pop("socket_keepalive_options").values()
    assert options == {
        "visibility_timeout": 3600,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 10,
        "socket_keepalive": True,
    }


def test_no_task_of_celery_can_be_asked_for() -> None:
    app = create_app(lambda: "memory://")
    app.finalize()
    assert [name for name in app.tasks if name.startswith("celery.")] == []


def test_a_broker_that_does_not_answer_is_said_without_its_password() -> None:
    app = create_app(lambda: "redis://:secret@127.0.0.1:1/0")
    with pytest.raises(Unreachable) as caught:
        publish("an id", through=app)
    assert "an id" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_broker_that_is_not_set_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("talweg.queue.settings", lambda: Settings().model_copy(update={"broker_url": None}))
    # Twice: Celery forgot the failed default, and the second call went to a broker on localhost.
    for _ in range(2):
        with pytest.raises(TalwegError, match="TALWEG_BROKER_URL is not set"):
            publish("an id")
    with pytest.raises(TalwegError, match="TALWEG_BROKER_URL is not set"):
        depth()


def test_configuring_reads_no_environment_before_it_is_asked() -> None:
    create_app(lambda: pytest.fail("asked for at import"))
    assert configuration("memory://")["broker_url"] == "memory://"


@pytest.mark.parametrize("module", ["talweg.execution.worker", "talweg.execution.tasks", "talweg.execution.submission"])
def test_training_never_imports_mlflow(module: str) -> None:
    loaded = f"import sys, {module}; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0


def test_the_reconciler_starts_without_the_engine() -> None:
    loaded = "import sys, talweg.execution.reconciler; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0
