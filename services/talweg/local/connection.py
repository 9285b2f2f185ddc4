"""Where a running stack is found."""

from dataclasses import dataclass, field
from pathlib import Path


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
