"""A local stack trains in a shell with variables of other programs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from talweg.client import Lab
from talweg.environment import inherited, is_foreign
from talweg.local import stop
from talweg.queue import create_app

# Each would break or change a process that inherits it.
HOSTILE = {
    "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
    "CELERY_BROKER_READ_URL": "redis://127.0.0.1:1/0",
    "CELERY_BROKER_WRITE_URL": "redis://127.0.0.1:1/0",
    "CELERY_RESULT_BACKEND": "redis://127.0.0.1:1/0",
    "CELERY_CONFIG_MODULE": "no_such_module",
    "CELERY_LOADER": "no.such:Loader",
    "CELERY_CUSTOM_WORKER_POOL": "no.such:Pool",
    "CELERY_RDBSIG": "1",
    "CELERY_TRACE_APP": "1",
    "C_STRICT_APP": "1",
    "C_FAKEFORK": "1",
    "FORKED_BY_MULTIPROCESSING": "1",
    "PICKLE_PROTOCOL": "none",
    "AUTOSCALE_KEEPALIVE": "none",
    "DJANGO_SETTINGS_MODULE": "no_such_module",
    "KOMBU_LOG_DEBUG": "1",
    "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
    "MLFLOW_REGISTRY_URI": "http://127.0.0.1:1",
    "MLFLOW_BACKEND_STORE_URI": "sqlite:////no/such/folder/mlflow.db",
    "MLFLOW_RUN_ID": "no-such-run",
    "MLFLOW_EXPERIMENT_NAME": "another",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "none",
    "GUNICORN_CMD_ARGS": "--no-such-option",
    "UVICORN_PORT": "1",
    "WEB_CONCURRENCY": "7",
    "FLASK_ENV": "development",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
    "PROMETHEUS_MULTIPROC_DIR": "/no/such/folder",
    "SQLALCHEMY_WARN_20": "1",
    "PGHOSTADDR": "127.0.0.2",
    "PGOPTIONS": "-c default_transaction_read_only=on",
    "PGSERVICE": "no-such-service",
    "PGTZ": "Nowhere/Nowhere",
    "OMP_NUM_THREADS": "7",
    "OMP_PROC_BIND": "nonsense",
    "OPENBLAS_NUM_THREADS": "7",
    "MKL_NUM_THREADS": "7",
    "NUMBA_NUM_THREADS": "7",
    "NUMBA_DISABLE_JIT": "1",
    "NUMBA_CPU_NAME": "no-such-cpu",
    "MPLBACKEND": "module://no_such_backend",
    "MATPLOTLIBRC": "/no/such/file",
    "PYTHONWARNINGS": "error",
    "PYTHONSTARTUP": "/no/such/file.py",
    "PYTHONOPTIMIZE": "2",
    "PYTHONINSPECT": "1",
    "PYTHONHASHSEED": "1",
    "PYTHONIOENCODING": "ascii",
    "PYTHONDEVMODE": "1",
    "http_proxy": "http://127.0.0.1:1",
    "HTTP_PROXY": "http://127.0.0.1:1",
    "HTTPS_PROXY": "http://127.0.0.1:1",
    "ALL_PROXY": "http://127.0.0.1:1",
}


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment with all of them."""
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("hostile")
def test_a_stack_started_in_a_hostile_environment_trains(tmp_path: Path) -> None:
    try:
        with Lab(home=tmp_path / "lab") as lab:
            run = lab.submit(problem="quadratic", optimizer="sgd", steps=20).wait(progress=False, timeout=600)
            assert (run.state, run.step) == ("finished", 20)
    finally:
        stop(tmp_path / "lab")


@pytest.mark.usefixtures("hostile")
def test_the_broker_of_our_setting_is_used() -> None:
    with create_app(lambda: "redis://here:6379/0") as app:
        assert app.conf.broker_url == "redis://here:6379/0"
        assert app.conf.broker_read_url is None or "here" in app.conf.broker_read_url
        assert app.connection_for_read().hostname == app.connection_for_write().hostname == "here"


@pytest.mark.usefixtures("hostile")
def test_the_inherited_environment_starts_python_and_is_idempotent() -> None:
    once = inherited()
    assert inherited(once) == once
    done = subprocess.run(
        [sys.executable, "-c", "import warnings; warnings.warn('ignored'); print('\N{BULLET}')"],
        env=once | {"PYTHONUTF8": "1"},
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode().strip() == "\N{BULLET}"


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_no_hostile_variable_is_inherited_unchanged(name: str) -> None:
    found = inherited({name: HOSTILE[name], "PATH": os.defpath, "PYTHONPATH": "mine", "PGPASSWORD": "mine"})
    assert (found["PATH"], found["PYTHONPATH"], found["PGPASSWORD"]) == (os.defpath, "mine", "mine")
    if name.lower().endswith("_proxy"):
        # The proxy stays for other hosts; loopback is reached without it.
        assert found["no_proxy"] == found["NO_PROXY"] == "localhost,127.0.0.1,::1"
    elif name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        # The numerics environment sets them.
        assert not is_foreign(name)
    else:
        assert name not in found


def test_hosts_of_no_proxy_stay() -> None:
    found = inherited({"https_proxy": "http://proxy:3128", "no_proxy": "intranet,localhost"})
    assert found["no_proxy"] == "intranet,localhost,127.0.0.1,::1"
    assert inherited({"no_proxy": "intranet"}) == {"no_proxy": "intranet"}
