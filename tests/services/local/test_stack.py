"""Start, faults and stop of stacks of small programs."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import pytest

from talweg.errors import ChildFailed, NewerLaboratory
from talweg.local import ensure, status, stop
from talweg.local.processes import birth
from talweg.local.stack_plan import choose_port
from talweg.local.supervisor_plan import ChildPlan, answers

Until = Callable[[Callable[[], bool], str], None]
# The fixture's class lives in conftest.py, which no test imports.
Small = Any

SLEEPER = "import time; print('here I am', flush=True); time.sleep(600)"
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) < 2:
    subprocess.Popen([sys.executable, "-I", "-S", "-c", open(0).read() if False else PROGRAM, "child"])
print("here I am", flush=True)
time.sleep(600)
"""
STUBBORN = f"PROGRAM = {STUBBORN!r}\nimport sys\nexec(PROGRAM)"
OWNER = """
import sys, time
from pathlib import Path
from talweg.local import ensure
from talweg.local.stack_plan import child_environment
from talweg.local.supervisor_plan import ChildPlan, Plan
from talweg.settings import Settings

def plan(settings, folder, owner):
    sleeper = ChildPlan("sleeper", [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])
    server = ChildPlan("server", [sys.executable, "-I", "-S", "-c", sys.argv[2], sys.argv[3]], probe="http",
                       target="http://127.0.0.1:" + sys.argv[3])
    return Plan(home=str(folder.home), mark=folder.marker, version="0", url=server.target,
                env=child_environment(settings, folder), children=[sleeper, server], owner=owner)

ensure(sys.argv[1], keep=False, settings=Settings.model_construct(_fields_set=set()), planner=plan)
print("ready", flush=True)
time.sleep(600)
"""


def kill(pid: int) -> None:
    """SIGKILL; returns when the process is gone."""
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 120
    while birth(pid) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_stack_starts_answers_and_is_found_again(small: Small) -> None:
    small.program("sleeper", SLEEPER)
    first = small.ensure()
    assert first.started
    assert answers("http", first.url)
    second = small.ensure()
    assert not second.started
    assert (second.url, second.token) == (first.url, first.token)
    state = small.status()
    assert state.phase == "ready"
    assert {child.name: child.phase for child in state.children} == {"server": "running", "sleeper": "running"}
    assert first.token not in repr(first)


def test_nothing_of_a_stack_is_for_others_to_read(small: Small, until: Until) -> None:
    small.program("writer", "open('artifact', 'w').close(); print('written', flush=True); import time; time.sleep(600)")
    before = os.umask(0)
    try:
        small.ensure()
    finally:
        os.umask(before)
    until(lambda: "written" in small.folder.log("writer").read_text(), "the child's line")
    found = {path.relative_to(small.home): path.lstat().st_mode for path in [small.home, *small.home.rglob("*")]}
    assert {Path("artifact"), Path("logs/writer.log"), Path("stack.json")} <= found.keys()
    assert {str(path): oct(mode) for path, mode in found.items() if mode & 0o077} == {}


def test_laboratories_started_at_the_same_time_have_different_ports(small: Small, tmp_path: Path) -> None:
    wanted, _ = choose_port(0, explicit=False, what="the servers")
    several = [type(small)(tmp_path / name, port=wanted) for name in "abc"]
    try:
        with ThreadPoolExecutor(3) as threads:
            # No server listens yet when the next one chooses.
            urls = list(threads.map(lambda one: one.ensure().url, several))
        assert len(set(urls)) == 3
        assert {one.status().phase for one in several} == {"ready"}
    finally:
        for one in several:
            stop(one.home)


def test_another_port_is_chosen_where_a_program_took_the_first_one(small: Small) -> None:
    with socket.create_server(("127.0.0.1", 0)) as quicker:
        port = quicker.getsockname()[1]
        plans: list[Any] = []

        def planner(*arguments: Any) -> Any:
            plan = small.plan(*arguments)
            if not plans:
                said = f"import sys; sys.exit('talweg: error: port-taken: the server: port {port} is taken')"
                server = replace(plan.children[0], argv=[sys.executable, "-c", said], target=f"http://127.0.0.1:{port}")
                plan = replace(plan, children=[server], url=server.target)
            plans.append(plan)
            return plan

        before = psutil.Process().num_fds()
        found = ensure(small.home, settings=small.settings, planner=planner, keep=False)
        assert [plan.url for plan in plans] == [f"http://127.0.0.1:{port}", found.url]
        assert answers("http", found.url)
        stop(small.home)
        assert psutil.Process().num_fds() == before


def test_two_at_once_start_one_stack(small: Small) -> None:
    with ThreadPoolExecutor(4) as pool:
        connections = list(pool.map(lambda _: small.ensure(), range(4)))
    assert sorted(connection.started for connection in connections) == [False, False, False, True]
    assert len({connection.url for connection in connections}) == 1
    # Supervisor, watchdog, server: nobody started a second set.
    assert len(small.processes()) == 3


def test_stop_ends_every_process_also_grandchildren_that_ignore_sigterm(small: Small, until: Until) -> None:
    small.program("stubborn", STUBBORN)
    small.program("polite", SLEEPER)
    small.ensure()
    until(lambda: len(small.processes()) == 6, "supervisor, watchdog, server, polite, stubborn and its child")
    assert set(stop(small.home)) == {"server", "stubborn", "polite", "supervisor"}
    assert small.processes() == []
    assert status(small.home) is None
    assert not small.folder.state.exists()
    assert stop(small.home) == []


def test_no_process_outlives_a_killed_supervisor(small: Small, until: Until) -> None:
    small.program("sleeper", SLEEPER)
    small.ensure()
    kill(small.status().pid)
    until(lambda: small.processes() == [], "the watchdog to end the children")
    state = small.status()
    assert state.phase == "failed"
    assert "supervisor" in state.error["message"]
    assert small.ensure().started


@pytest.mark.parametrize("then", ["stop", "ensure"])
def test_children_without_supervisor_and_watchdog_are_found(small: Small, then: str) -> None:
    small.program("sleeper", SLEEPER)
    small.ensure()
    state = small.status()
    known = {state.pid, *(child.pid for child in state.children)}
    watchdogs = [process.pid for process in small.processes() if process.pid not in known]
    assert len(watchdogs) == 1
    # Or it would start another watchdog, which ends the children.
    os.kill(state.pid, signal.SIGSTOP)
    kill(watchdogs[0])
    kill(state.pid)
    old = {child.pid for child in state.children}
    if then == "stop":
        assert set(stop(small.home)) >= {"server", "sleeper"}
        assert small.processes() == []
    else:
        assert small.ensure().started
        assert old.isdisjoint(process.pid for process in small.processes())


def test_a_state_file_that_cannot_be_written_stops_no_child(small: Small, until: Until) -> None:
    small.program("sleeper", SLEEPER)
    small.ensure()
    state = small.status()
    sleeper = state.child("sleeper")
    # Nothing replaces a folder that holds something; on a full disk every writing fails so.
    small.folder.state.unlink()
    (small.folder.state / "in the way").mkdir(parents=True)
    kill(sleeper.pid)
    until(lambda: "cannot be written" in small.folder.log("supervisor").read_text(), "the supervisor to complain")
    shutil.rmtree(small.folder.state)

    def goes_on() -> bool:
        found = status(small.home)
        sleeper = None if found is None else found.child("sleeper")
        return sleeper is not None and (sleeper.phase, sleeper.restarts) == ("running", 1)

    until(goes_on, "the state to be written again")
    assert small.status().pid == state.pid


def test_children_are_found_even_without_a_state_file(small: Small) -> None:
    small.ensure()
    state = small.status()
    known = {state.pid, *(child.pid for child in state.children)}
    os.kill(state.pid, signal.SIGSTOP)
    for process in small.processes():
        if process.pid not in known:
            process.kill()
    kill(state.pid)
    small.folder.state.unlink()
    stop(small.home)
    assert small.processes() == []


def test_a_killed_watchdog_is_replaced_and_knows_the_children(small: Small, until: Until) -> None:
    small.ensure()
    state = small.status()
    known = {state.pid, *(child.pid for child in state.children)}
    (watchdog,) = [process for process in small.processes() if process.pid not in known]
    watchdog.kill()
    until(lambda: len(small.processes()) == 3 and not watchdog.is_running(), "another watchdog")
    kill(state.pid)
    until(lambda: small.processes() == [], "the new watchdog to end the children")


def test_a_child_that_crashes_is_restarted_and_reported(small: Small, until: Until) -> None:
    small.program("sleeper", SLEEPER)
    small.ensure()
    before = small.status().child("sleeper")
    until(lambda: "here I am" in small.folder.log("sleeper").read_text(), "the sleeper's first line")
    kill(before.pid)
    until(lambda: small.status().child("sleeper").restarts == 1, "a restart")
    after = small.status().child("sleeper")
    assert after.phase == "running"
    assert after.pid != before.pid
    assert after.last_exit == "signal 9 (SIGKILL)"
    assert after.last_lines == ["here I am"]
    assert small.status().phase == "ready"


def test_a_child_that_cannot_start_shows_its_last_lines(small: Small) -> None:
    small.program("broken", "import sys; print('no such wheel: flywheel'); sys.exit(4)", probe="redis", target="/none")
    with pytest.raises(ChildFailed, match=r"(?s)broken: ended, exit status 4.*no such wheel: flywheel") as caught:
        small.ensure()
    assert str(small.folder.log("broken")) in str(caught.value)
    assert small.processes() == []


def test_a_program_that_is_not_there_is_named(small: Small) -> None:
    small.children.append(ChildPlan("ghost", ["/nowhere/ghost"]))
    with pytest.raises(ChildFailed, match=r"(?s)ghost: .*/nowhere/ghost: cannot be started"):
        small.ensure()


def prepared(small: Small) -> Any:
    small.folder.prepare()
    return small.folder


def test_an_error_that_a_child_names_is_raised_as_such(small: Small) -> None:
    text = "import sys; print('talweg: error: newer-laboratory: talweg.db is of revision 99'); sys.exit(2)"
    small.program("migrate", text, once=True)
    with pytest.raises(NewerLaboratory, match=r"^talweg\.db is of revision 99$"):
        small.ensure()


def test_order_is_kept_and_what_runs_once_is_not_restarted(small: Small, until: Until) -> None:
    mark = small.home / "migrated"
    small.program("migrate", f"import time; time.sleep(0.3); open({str(mark)!r}, 'w').close()", once=True)
    small.program(
        "late", f"import os, time; print(os.path.exists({str(mark)!r}), flush=True); time.sleep(600)", after=["migrate"]
    )
    small.ensure()
    assert small.status().child("migrate").phase == "finished"
    until(lambda: small.folder.log("late").read_text() != "", "the late child's line")
    assert small.folder.log("late").read_text() == "True\n"


def test_what_is_not_required_may_fail_for_ever(small: Small, until: Until) -> None:
    small.program("mlflow", "raise SystemExit(3)", required=False)
    assert small.ensure().started
    until(lambda: small.status().child("mlflow").restarts >= 1, "a restart")
    assert small.status().phase == "ready"
    assert small.status().child("mlflow").last_exit == "exit status 3"


def test_removing_the_folder_ends_the_stack(small: Small, until: Until) -> None:
    connection = small.ensure()
    marker = small.folder.marker
    processes = small.processes()
    shutil.rmtree(small.home)
    until(lambda: not any(process.is_running() for process in processes), f"the processes of {marker} to end")
    assert not answers("http", connection.url)


def test_a_stack_that_is_not_kept_ends_with_its_killed_owner(small: Small, until: Until) -> None:
    server = small.plan(small.settings, prepared(small), None).children[0]
    arguments = [sys.executable, "-c", OWNER, str(small.home), server.argv[4], server.argv[5]]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "ready\n"
        assert len(small.processes()) == 4
        owner.kill()
    until(lambda: small.processes() == [], "the stack to end")


def test_a_stack_that_is_not_kept_can_be_stopped_by_its_owner(small: Small) -> None:
    small.ensure(keep=False)
    stop(small.home)
    assert small.processes() == []


def test_a_deep_folder_runs_too(small: Small, tmp_path: Path) -> None:
    small.home = tmp_path / ("deep" * 20) / "with space" / ".talweg"
    small.ensure()
    stop(small.home)
    assert small.processes() == []
