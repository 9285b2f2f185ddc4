"""Talweg, the optimizer laboratory: `from talweg import Lab`.

Names load on first use, so that `import talweg` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from talweg.client import Lab, Run, Study
    from talweg.client.aio import AsyncLab
    from talweg.errors import TalwegError
    from talweg.spec import RunSpec, StudySpec

__all__ = ["AsyncLab", "Lab", "Run", "RunSpec", "Study", "StudySpec", "TalwegError", "__version__"]

_HOMES = {
    "AsyncLab": "talweg.client.aio",
    "Lab": "talweg.client",
    "Run": "talweg.client",
    "Study": "talweg.client",
    "RunSpec": "talweg.spec",
    "StudySpec": "talweg.spec",
    "TalwegError": "talweg.errors",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("talweg")
    if name not in _HOMES:
        raise AttributeError(f"module 'talweg' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
