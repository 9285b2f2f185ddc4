"""What a supervisor is to run, as plain data: it gets this on its standard input and knows nothing else."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from talweg.local.probes import ProbeKind


@dataclass(frozen=True)
class ChildPlan:
    """One process.

    Attributes:
        env: What its environment has beyond the stack's.
        without: What it lacks of the stack's environment.
        after: Children that must answer (or, if they run once, have finished) before it starts.
        once: It is done when it exits with status 0; otherwise it should never exit.
        required: The stack is not ready before it is, and fails if it ends before that.
        probe: How to ask whether it is ready, at `target`.
        url: Where people find it.
        grace: Seconds that it has after SIGTERM to end what it started and itself; what is left of its process group
            then, or once it has ended, is killed.
        last: It is stopped after all the others.
        nice: Lower priority than what computes.
    """

    name: str
    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    once: bool = False
    required: bool = True
    probe: ProbeKind = "none"
    target: str = ""
    url: str | None = None
    grace: float = 5.0
    last: bool = False
    nice: int = 0


@dataclass(frozen=True)
class Plan:
    """A whole stack; `owner` is a descriptor whose end-of-file stops it, where it belongs to one process."""

    home: str
    mark: str
    version: str
    url: str
    env: dict[str, str]
    children: list[ChildPlan]
    mlflow_url: str | None = None
    scratch: str | None = None
    notes: list[str] = field(default_factory=list)
    owner: int | None = None

    def to_json(self) -> str:
        """The plan as one JSON document."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """The plan that `to_json` wrote."""
        value: dict[str, Any] = json.loads(text)
        value["children"] = [ChildPlan(**child) for child in value["children"]]
        return cls(**value)
