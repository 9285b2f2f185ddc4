"""Options that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from talweg.errors import InvalidSpec

if TYPE_CHECKING:
    from talweg.client import Lab
    from talweg.settings import Settings

Home = Annotated[
    Path | None, typer.Option("--home", help="The laboratory's folder.", show_default=".talweg, or TALWEG_HOME")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Wide = Annotated[bool, typer.Option("--wide", help="Every column, however wide.")]

_SECRET = ("token", "database_url", "broker_url")


def read_settings(**given: Any) -> "Settings":
    """The settings, with those of `given` that are not None above all others.

    Raises:
        InvalidSpec: A setting breaks its rule; names the setting, the rule and the value.
    """
    from pydantic import ValidationError

    from talweg.settings import Settings

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise InvalidSpec("; ".join(map(_rule, error.errors()))) from None


def laboratory(home: Path | None) -> "Lab":
    """The laboratory that TALWEG_URL names, or else the local one, started if it does not run."""
    read_settings()
    from talweg.client import Lab

    return Lab(home=home)


def _rule(problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"][:1].lower() + problem["msg"][1:]
    value = "" if name in _SECRET else f", got {problem['input']!r}"
    return f"setting {name}: {message}{value}"
