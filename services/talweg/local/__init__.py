"""The local stack: broker, API, workers, reconciler, tracking and MLflow as supervised processes of one folder.

Names load on first use: the supervisor is in this package too, and needs few of them.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from talweg.local.stack import ended, ensure, found, status, stop
    from talweg.local.supervisor_plan import ChildState, Connection, StackState

__all__ = ["ChildState", "Connection", "StackState", "ended", "ensure", "found", "status", "stop"]

_HOMES = {
    "ChildState": "supervisor_plan",
    "Connection": "supervisor_plan",
    "StackState": "supervisor_plan",
    "ended": "stack",
    "ensure": "stack",
    "found": "stack",
    "status": "stack",
    "stop": "stack",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'talweg.local' has no attribute {name!r}")
    if sys.platform == "win32":
        from talweg.errors import LocalStackError

        raise LocalStackError(
            "the local stack runs on Linux and macOS; on Windows use WSL (wsl --install), or set TALWEG_URL to use a "
            "laboratory elsewhere"
        )
    return getattr(import_module(f"talweg.local.{_HOMES[name]}"), name)
