"""Tokens of a shared laboratory: create, list, revoke."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from talweg.cli.options import AsJson, Home, Wide, laboratory
from talweg.cli.output import as_json, clean, data, hint, say, table
from talweg.errors import InvalidSpec

app = typer.Typer(no_args_is_help=True, help="Tokens: who may ask the API, and for what.")

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_SPAN = re.compile(r"([0-9]{1,5})([hdw])")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is, such as ada-laptop.")],
    scope: Annotated[str, typer.Option(help="read, submit or admin.")] = "submit",
    expires: Annotated[str, typer.Option(help="12h, 90d, 4w, a date such as 2030-01-31, or never.")] = "90d",
    runs: Annotated[int | None, typer.Option(help="Runs queued or running at once.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps that these have still to make.")] = None,
    size: Annotated[int | None, typer.Option("--bytes", help="Bytes of uploaded datasets.")] = None,
    rate: Annotated[float | None, typer.Option(help="Requests a second.")] = None,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Make a token and print it, once: only its digest is kept."""
    end = _end(expires)
    with laboratory(home) as lab:
        token = lab.tokens.create(name, scope, expires=end, runs=runs, steps=steps, bytes=size, rate=rate)
        url = lab.url
    if json:
        as_json({"name": name, "scope": scope, "token": token})
        return
    data(token)
    say("It is shown this once. Keep it out of command lines: others can list those.")
    hint(f"TALWEG_URL={url} and TALWEG_TOKEN (or TALWEG_TOKEN_FILE) let Lab() and talweg in")


@app.command("list")
def show(home: Home = None, json: AsJson = False, wide: Wide = False) -> None:
    """Every token: its scope, until when it holds, and its limits."""
    with laboratory(home) as lab:
        found = lab.tokens.list()
    if json:
        as_json(list(found))
        return
    table(found, wide=wide)
    hint("talweg token revoke NAME")


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="As talweg token list shows it.")],
    home: Home = None,
    json: AsJson = False,
) -> None:
    """End a token: its next request is refused."""
    with laboratory(home) as lab:
        lab.tokens.revoke(name)
    as_json({"name": name, "revoked": True}) if json else data(f"{clean(name)}: revoked")
    hint("talweg token list")


def _end(text: str) -> datetime | timedelta | None:
    """When a token ends; raises InvalidSpec."""
    if text == "never":
        return None
    span = _SPAN.fullmatch(text)
    if span is not None:
        return timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidSpec(f"expires: must be like 12h, 90d, 4w, 2030-01-31 or never, got {text!r}") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
