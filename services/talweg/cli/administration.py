"""`talweg token`, `dataset` and `mirror`."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from talweg.cli.output import AsJson, Home, Wide, as_json, clean, data, hint, laboratory, read_settings, say, table
from talweg.cli.submit import steer
from talweg.errors import InvalidSpec

tokens_app = typer.Typer(no_args_is_help=True, help="Tokens: who may ask the API, and for what.")

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_SPAN = re.compile(r"([0-9]{1,5})([hdw])")
datasets_app = typer.Typer(no_args_is_help=True, help="Datasets of your own: add files, list what is there.")


@tokens_app.command()
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


@tokens_app.command("list")
def list_tokens(home: Home = None, json: AsJson = False, wide: Wide = False) -> None:
    """Every token: its scope, until when it holds, and its limits."""
    with laboratory(home) as lab:
        found = lab.tokens.list()
    if json:
        as_json(list(found))
        return
    table(found, wide=wide)
    hint("talweg token revoke NAME")


@tokens_app.command()
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


@datasets_app.command()
def add(
    file: Annotated[Path, typer.Argument(help="A .csv, .parquet, .npz (inputs, targets) or .npy file.")],
    name: Annotated[str | None, typer.Option(help="What specs name it by.", show_default="the file's")] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict.", show_default="the last")] = None,
    kind: Annotated[str, typer.Option(help="What targets are: labels, values or auto.")] = "auto",
    standardise: Annotated[bool, typer.Option(help="Give each input column mean 0 and deviation 1.")] = True,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Upload a file, to be named in specs."""
    if not file.is_file():
        raise InvalidSpec(f"{file}: must be a file that is there")
    with laboratory(home) as lab:
        made = lab.upload(name or file.stem, file, target=target, kind=kind, standardise=standardise)
    as_json(made.view) if json else data(clean(repr(made)))
    hint(
        f'{{"problem": {{"dataset": "{clean(made.name)}", "network": […], "cost": …}}, …}} in SPEC.json, talweg submit'
    )


@datasets_app.command("list")
def list_datasets(home: Home = None, json: AsJson = False, wide: Wide = False) -> None:
    """Every uploaded dataset."""
    with laboratory(home) as lab:
        found = lab.datasets()
    if json:
        as_json(list(found))
        return
    table(found, wide=wide)
    hint("talweg dataset add FILE")


def mirror(
    name: Annotated[
        str | None, typer.Argument(help="A run or a study with --again, a study with --to.", show_default="all")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Send what MLflow was sent before, too.")] = False,
    to: Annotated[str | None, typer.Option("--to", metavar="URL", help="Another server to copy to.")] = None,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Rebuild a run or a study in MLflow, or copy what is recorded to another MLflow server, once.

    What is new gets to the laboratory's own server by itself; --again is for one that lost what it had. What was
    deleted there stays so. Credentials: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or
    MLFLOW_TRACKING_TOKEN.
    """
    if again == (to is not None) or (again and name is None):
        raise InvalidSpec(
            "mirror: what is new gets to MLflow by itself; NAME --again sends all of it once more, "
            "--to URL copies all to another server"
        )
    if to is not None:
        copy_to(to, name, home)
        return
    work = steer("mirror_again", str(name), home, json)
    hint(f"talweg ui {clean(work.name)}")


def copy_to(url: str, study: str | None, home: Path | None) -> None:
    """Run the copy in a process of its own: the command line knows nothing of the store, nor of MLflow."""
    import subprocess

    from talweg.local.folder import Folder
    from talweg.local.stack_plan import child_environment, module

    settings = read_settings(home=home)
    folder = Folder.of(settings.home)
    variables = child_environment(settings, folder)
    if settings.database_url is None:
        if settings.url is not None and home is None:
            raise InvalidSpec("mirror: --to reads the laboratory's database; TALWEG_DATABASE_URL must name it")
        variables["TALWEG_DATABASE_URL"] = f"sqlite:///{folder.database}"
    command = [*module("talweg.tracking"), "--to", url, *([] if study is None else [study])]
    done = subprocess.run(command, env=variables, check=False)  # noqa: S603 - ourselves, without a shell
    if done.returncode:
        raise typer.Exit(done.returncode)
    hint(f"open {url} in a browser")
