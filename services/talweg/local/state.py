"""What the supervisor says of itself and its children, `stack.json`; and where a running stack is found."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from talweg.local.folder import Folder, write_private

Phase = Literal["starting", "ready", "stopping", "failed", "stopped"]
ChildPhase = Literal["waiting", "starting", "running", "restarting", "finished", "stopped"]


@dataclass(frozen=True)
class Connection:
    """What a client needs.

    Attributes:
        url: The API.
        token: Its bearer token.
        mlflow_url: Where MLflow will be found; it may still be starting.
        home: The laboratory's folder.
        started: Whether this call started the stack, rather than found it.
    """

    url: str
    token: str = field(repr=False)
    mlflow_url: str | None
    home: Path
    started: bool


@dataclass
class ChildState:
    """One child as `talweg status` shows it; `since` and what ends in `_at` are seconds since 1970.

    Attributes:
        born: What tells the process from a later one of the same pid (`processes.birth`).
        restarts: How often it was started again after it had ended unasked.
        last_exit: How it ended the last time it ended unasked: "exit status 1", "signal 9 (SIGKILL)".
        last_lines: The end of its log at that moment.
    """

    name: str
    phase: ChildPhase = "waiting"
    pid: int | None = None
    born: float | None = None
    since: float | None = None
    url: str | None = None
    restarts: int = 0
    last_exit: str | None = None
    last_exit_at: float | None = None
    last_lines: list[str] = field(default_factory=list)
    retry_at: float | None = None


@dataclass
class StackState:
    """The stack; `pid` and `born` are the supervisor's, `scratch` is a folder to remove at the end."""

    phase: Phase = "starting"
    version: str = ""
    pid: int = 0
    born: float | None = None
    url: str = ""
    mlflow_url: str | None = None
    scratch: str | None = None
    notes: list[str] = field(default_factory=list)
    error: dict[str, str] | None = None
    children: list[ChildState] = field(default_factory=list)

    def child(self, name: str) -> ChildState | None:
        """The child of that name, if there is one."""
        return next((child for child in self.children if child.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def write(folder: Folder, state: StackState) -> None:
    """Replace stack.json."""
    write_private(folder.state, json.dumps(state.to_json(), indent=1) + "\n")


def read(folder: Folder) -> StackState | None:
    """What stack.json says; None where there is none, or none that this version understands."""
    try:
        value = json.loads(folder.state.read_text(encoding="utf-8"))
        children = [ChildState(**child) for child in value.pop("children")]
        return StackState(**value, children=children)
    except (OSError, ValueError, TypeError, KeyError):
        # A stack that cannot be read about is still found: by its lock and by the mark its processes carry.
        return None
