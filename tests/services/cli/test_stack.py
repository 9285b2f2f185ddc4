"""Commands without a laboratory: local stack, settings, logs, migrate."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from talweg.cli.output import clean
from talweg.cli.stack import backlog
from talweg.cli.submit import named, seeds
from talweg.errors import InvalidSpec
from talweg.local.folder import Folder, open_log

Talweg = Callable[..., Any]


def test_status_without_a_stack_ends_with_1(talweg: Talweg, tmp_path: Path) -> None:
    done = talweg("status")
    assert (done.status, done.out) == (1, "")
    assert done.err == "Nothing runs in .talweg.\nNext: talweg up\n"
    assert talweg("status", "--json").json == {"phase": "stopped"}
    assert list(tmp_path.iterdir()) == []


def test_down_without_a_stack_is_no_error(talweg: Talweg, tmp_path: Path) -> None:
    done = talweg("down")
    assert done.status == 0
    assert "Nothing runs" in done.err
    assert talweg("down", "--json").json == {"ended": []}
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_ends_with_2_and_starts_nothing(talweg: Talweg, tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        done = talweg("up", "--port", str(port))
    assert done.status == 2
    assert done.err.startswith(f"talweg: error: the API: port {port} is taken")
    assert not (tmp_path / ".talweg" / "stack.json").exists()


def test_a_folder_that_cannot_be_written_ends_with_2(talweg: Talweg, tmp_path: Path) -> None:
    (tmp_path / "lab").write_text("")
    done = talweg("up", "--home", "lab")
    assert done.status == 2
    assert f"{tmp_path / 'lab'}: cannot be written" in done.err


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (480.0, "about 8 minutes left"),
        (90.0, "about 2 minutes left"),
        (12.4, "about 12 s left"),
        (None, "none got there in the last minute"),
    ],
)
def test_status_says_how_far_the_mirror_is(seconds: float | None, said: str) -> None:
    assert backlog(runs=2000, waiting=760, seconds_left=seconds) == f"1,240 of 2,000 runs are there, {said}"


@pytest.mark.parametrize("command", ["up", "down", "status"])
def test_a_newer_laboratory_ends_with_2(talweg: Talweg, tmp_path: Path, command: str) -> None:
    (tmp_path / ".talweg").mkdir()
    label = {"id": "0", "format": 99, "version": "9.0.0"}
    (tmp_path / ".talweg" / "laboratory.json").write_text(json.dumps(label))
    done = talweg(command)
    assert done.status == 2
    assert "written by Talweg 9.0.0" in done.err


def test_a_setting_that_breaks_its_rule_is_named(
    talweg: Talweg, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TALWEG_PORT", "99999")
    done = talweg("status")
    assert done.status == 2
    assert done.err == "talweg: error: setting port: input should be less than or equal to 65535, got '99999'\n"
    monkeypatch.delenv("TALWEG_PORT")
    (tmp_path / "talweg.toml").write_text("port =")
    assert talweg("status").status == 2


def test_config_show_names_where_each_value_came_from(
    talweg: Talweg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "talweg.toml").write_text("workers = 3\nport = 9000\n")
    (tmp_path / "pyproject.toml").write_text("[tool.talweg]\nport = 9001\nmax_attempts = 5\n")
    monkeypatch.setenv("TALWEG_WORKERS", "4")
    monkeypatch.setenv("TALWEG_TOKEN", "hunter2hunter2hunter2")
    done = talweg("config", "show", "--json", "--home", "elsewhere")
    found = done.json
    assert found["workers"] == {"value": "4", "from": "TALWEG_WORKERS"}
    assert found["port"] == {"value": "9000", "from": "talweg.toml"}
    assert found["max_attempts"] == {"value": "5", "from": "pyproject.toml"}
    assert found["home"] == {"value": "elsewhere", "from": "argument"}
    assert found["mlflow_port"]["from"] == "default"
    plain = talweg("config", "show")
    assert "hunter2" not in done.out + plain.out
    assert "TALWEG_WORKERS" in plain.out


def test_logs_show_the_last_lines_of_the_processes_that_are_named(talweg: Talweg, tmp_path: Path) -> None:
    assert talweg("logs").status == 0
    folder = Folder.of(tmp_path / ".talweg")
    folder.prepare()
    for name in ("api", "worker-1"):
        with open_log(folder.log(name)) as log:
            log.write(b"".join(f"{name} line {number}\n".encode() for number in range(30)))
    done = talweg("logs", "api", "-n", "2")
    assert done.out == "api | api line 28\napi | api line 29\n"
    assert "worker-1 | worker-1 line 29" in talweg("logs").out
    wrong = talweg("logs", "worker")
    assert wrong.status == 2
    assert "did you mean 'worker-1'" in wrong.err


def test_version_is_text_or_json(talweg: Talweg) -> None:
    assert talweg("--version").out == talweg("version").out
    assert set(talweg("version", "--json").json) == {"talweg", "python", "platform"}


def test_migrate_makes_the_database(talweg: Talweg, tmp_path: Path) -> None:
    done = talweg("migrate", "--home", "lab")
    assert done.status == 0, done.err
    assert (tmp_path / "lab" / "talweg.db").is_file()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("adam", {"name": "adam"}),
        ("adam:learning_rate=1e-3,beta1=0.8", {"name": "adam", "learning_rate": 1e-3, "beta1": 0.8}),
        ("rosenbrock:start=[-0.5,1.5]", {"name": "rosenbrock", "start": [-0.5, 1.5]}),
        ("a: b = true , c = word", {"name": "a", "b": True, "c": "word"}),
        ("a:nesterov=True", {"name": "a", "nesterov": True}),
    ],
)
def test_settings_are_written_after_the_name(text: str, value: dict[str, Any]) -> None:
    assert named(text) == value


@pytest.mark.parametrize("text", ["a:b", "a:b=", "a:=1", "a:b=1,b=2", "a:1x=2"])
def test_a_malformed_setting_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec):
        named(text)


def test_seeds_are_a_count_or_a_list() -> None:
    assert seeds("5") == 5
    assert seeds("0, 7,11") == [0, 7, 11]
    assert seeds("3,") == [3]
    for text in ("", ",", "x", "1.5"):
        with pytest.raises(InvalidSpec, match="how many"):
            seeds(text)


def test_a_name_cannot_steer_the_terminal() -> None:
    assert clean("\x1b[2Jfine\r\n") == "[2Jfine"
