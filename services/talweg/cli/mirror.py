"""`talweg mirror`: what is recorded, in MLflow once more or in another server."""

from pathlib import Path
from typing import Annotated

import typer

from talweg.cli.options import AsJson, Home, read_settings
from talweg.cli.output import clean, hint
from talweg.cli.submit import steer
from talweg.errors import InvalidSpec


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
