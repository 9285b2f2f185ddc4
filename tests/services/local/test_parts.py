"""Ports, locks, logs and the pace of restarts."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import pytest

from talweg import local
from talweg.errors import LocalStackError, PortTaken
from talweg.local.folder import LARGEST, acquire_lock, exclusive_lock, follow, is_held, open_log, tail
from talweg.local.processes import alive, birth
from talweg.local.stack_plan import choose_port, is_free, reserve_port
from talweg.local.supervised_process import FIRST_DELAY, LONGEST_DELAY, Child
from talweg.local.supervisor_plan import ChildPlan, Plan, listens
from talweg.local.watchdog import Watchdog


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_taken_port_that_was_asked_for_is_an_error_with_exit_code_2(taken: int) -> None:
    with pytest.raises(PortTaken, match=f"the API: port {taken} is taken") as caught:
        choose_port(taken, explicit=True, what="the API")
    assert caught.value.exit_code == 2


def test_the_next_free_port_is_taken_and_said_in_one_line(taken: int) -> None:
    port, note = choose_port(taken, explicit=False, what="MLflow")
    assert port > taken
    assert is_free(port)
    assert note == f"port {taken} is taken, MLflow uses {port}"


def test_a_free_port_needs_no_words_and_zero_means_any(taken: int) -> None:
    any_port, note = choose_port(0, explicit=True, what="the API")
    assert (is_free(any_port), note) == (True, None)
    assert choose_port(any_port, explicit=True, what="the API") == (any_port, None)


def test_a_lock_is_held_by_one_and_released_with_its_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    descriptor = acquire_lock(path, note="me")
    assert descriptor is not None
    assert acquire_lock(path) is None
    assert is_held(path)
    assert path.read_text() == "me"
    os.close(descriptor)
    assert not is_held(path)


def test_a_lock_that_stays_taken_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        exclusive_lock(path, timeout=1),
        pytest.raises(LocalStackError, match=f"process {os.getpid()} has been starting or stopping"),
        exclusive_lock(path, timeout=0.1),
    ):
        pass


def test_a_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    assert tail(path, 3) == []
    path.write_bytes(b"".join(b"line %d\n" % number for number in range(100_000)) + b"\xff end")
    assert tail(path, 2) == ["line 99999", "� end"]
    assert tail(path, 0) == []


def test_a_long_log_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    path.write_bytes(b"\n" * (LARGEST + 1))
    with open_log(path) as log:
        log.write(b"fresh\n")
    assert path.read_bytes() == b"fresh\n"
    assert (tmp_path / "api.log.1").stat().st_size == LARGEST + 1
    assert path.stat().st_mode & 0o077 == 0


def test_following_gives_whole_lines_of_every_log_from_now_on(tmp_path: Path) -> None:
    paths = {"api": tmp_path / "api.log", "worker-1": tmp_path / "worker-1.log"}
    paths["api"].write_text("before\n")
    turns = iter([True, True, False])

    def going() -> bool:
        with paths["api"].open("a") as log:
            log.write("half a ")
        more = next(turns)
        if not more:
            paths["worker-1"].write_text("hello\n")
            with paths["api"].open("a") as log:
                log.write("line\n")
        return more

    assert list(follow(paths, going=going)) == [("api", "half a half a half a line"), ("worker-1", "hello")]


def test_a_plan_travels_as_json() -> None:
    child = ChildPlan("api", ["python"], env={"A": "1"}, after=["migrate"], probe="http", target="u", last=True)
    plan = Plan("/home", "mark", "1", "url", {"B": "2"}, [child], notes=["note"], owner=3)
    assert Plan.from_json(plan.to_json()) == plan


def test_restarts_slow_down_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "logs").mkdir()
    watchdog = Watchdog(dict(os.environ))
    child = Child(ChildPlan("broken", ["/nowhere/broken"]), {}, tmp_path, watchdog)
    monkeypatch.setattr("talweg.local.supervised_process.time.monotonic", lambda: 1000.0)
    delays = []
    for _ in range(9):
        child.start()
        assert child.look()
        assert not child.look()
        rest = child.rest()
        assert rest is not None
        delays.append(rest)
    watchdog.close()
    assert delays[:4] == [FIRST_DELAY, 2 * FIRST_DELAY, 4 * FIRST_DELAY, 8 * FIRST_DELAY]
    assert delays[-1] == LONGEST_DELAY


def test_a_clock_that_is_set_makes_no_stranger_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    born = birth(os.getpid())
    assert born is not None
    boot = psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot + 89.0)
    assert alive(os.getpid(), born)
    assert not alive(os.getpid(), born + 1)
    assert not alive(2**22 + 1, born)


def test_the_watchdog_runs_without_anything_installed() -> None:
    watchdog = Watchdog({})
    watchdog.add(2**22 + 1)
    watchdog.check()
    watchdog.close()


def test_on_windows_it_says_what_to_do_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(LocalStackError, match=r"on Windows use WSL .* or set TALWEG_URL"):
        local.ensure()


def test_a_port_that_another_laboratory_keeps_is_taken_though_nothing_listens_there(taken: int) -> None:
    port, _ = choose_port(0, explicit=False, what="the API")
    kept = reserve_port(port)
    assert kept is not None
    with kept:
        assert not is_free(port)
        assert reserve_port(port) is None
        with pytest.raises(PortTaken, match=f"port {port} is taken"):
            choose_port(port, explicit=True, what="the API")
    assert is_free(port)


def test_an_answer_counts_only_from_ones_own_server(taken: int) -> None:
    url = f"http://127.0.0.1:{taken}/healthz"
    assert listens(os.getpid(), url)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert not listens(other.pid, url)
        other.communicate(b"\n")
    assert not listens(other.pid, url)
