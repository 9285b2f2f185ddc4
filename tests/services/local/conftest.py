"""Small stacks: real supervisors of programs of a few lines, stopped after the test."""

import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import pytest

from talweg.local import Connection, StackState, ensure, status, stop
from talweg.local.folder import Folder
from talweg.local.processes import marked
from talweg.local.stack_plan import child_environment, choose_port
from talweg.local.supervisor_plan import ChildPlan, Plan
from talweg.settings import Settings

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
http.server.HTTPServer.allow_reuse_address = True
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
SLEEPER = "import time; print('here I am', flush=True); time.sleep(600)"


@dataclass
class SmallStack:
    """A folder, and the children beside a small HTTP server that its stack is to have."""

    home: Path
    children: list[ChildPlan] = field(default_factory=list)
    # Of its server, or the next one that is free.
    port: int = 0

    @property
    def folder(self) -> Folder:
        """Its paths."""
        return Folder.of(self.home)

    @property
    def settings(self) -> Settings:
        """Settings that no environment and no file of this machine changes."""
        return Settings.model_construct(_fields_set=set(), home=self.home)

    def program(self, name: str, text: str, **plan: object) -> None:
        """Add a child that runs `text` as a Python program."""
        child = ChildPlan(name, [sys.executable, "-I", "-S", "-c", text], grace=2.0)
        self.children.append(replace(child, **plan))  # type: ignore[arg-type]  # fields of ChildPlan

    def plan(self, settings: Settings, folder: Folder, owner: int | None) -> Plan:
        """The plan of this stack, with its server on a free port."""
        port, _ = choose_port(self.port, explicit=False, what="the server")
        url = f"http://127.0.0.1:{port}"
        argv = [sys.executable, "-I", "-S", "-c", SERVER, str(port)]
        server = ChildPlan("server", argv, probe="http", target=url, grace=2.0)
        return Plan(
            home=str(folder.home),
            mark=folder.marker,
            version="0",
            url=url,
            env=child_environment(settings, folder),
            children=[server, *self.children],
            owner=owner,
        )

    def ensure(self, *, keep: bool = True) -> Connection:
        """Start it or find it."""
        return ensure(self.home, keep=keep, settings=self.settings, planner=self.plan)

    def status(self) -> StackState:
        """What it says of itself."""
        state = status(self.home)
        assert state is not None, "nothing runs"
        return state

    def processes(self) -> list[psutil.Process]:
        """Every living process of it."""
        return marked(self.folder.marker)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A prepared folder."""
    folder = Folder.of(tmp_path / ".talweg")
    folder.prepare()
    return folder


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that a process listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallStack]:
    """A stack that is not started yet, and is ended with the test."""
    stack = SmallStack(tmp_path / ".talweg")
    yield stack
    if stack.folder.home.is_dir():
        stop(stack.home)
