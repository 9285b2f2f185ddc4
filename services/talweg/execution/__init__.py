"""Plan, publish and train cohorts; publish lost ones again.

Its names are imported at first use: the reconciler needs no engine, and starts without importing it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from talweg.execution.branching import fork_run, resume_run
    from talweg.execution.reconciler import Reconciled, reconcile
    from talweg.execution.submission import extend_studies, submit_run, submit_study
    from talweg.execution.training import Outcome, train

__all__ = [
    "Outcome",
    "Reconciled",
    "extend_studies",
    "fork_run",
    "reconcile",
    "resume_run",
    "submit_run",
    "submit_study",
    "train",
]

_MODULES = {
    "Outcome": "training",
    "Reconciled": "reconciler",
    "extend_studies": "submission",
    "fork_run": "branching",
    "reconcile": "reconciler",
    "resume_run": "branching",
    "submit_run": "submission",
    "submit_study": "submission",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
