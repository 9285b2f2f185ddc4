"""`talweg mirror --to URL`: a laboratory's runs in another MLflow server."""

from pathlib import Path
from typing import Annotated

import typer

from talweg.cli.options import Home, read_settings
from talweg.cli.output import hint
from talweg.errors import InvalidSpec


def mirror(
    study: Annotated[str | None, typer.Argument(help="Only this study.", show_default="all")] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="URL", help="The server to copy to.")] = None,
    home: Home = None,
) -> None:
    """Copy what is recorded to another MLflow server, once.

    Credentials: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.
    """
    if to is None:
        raise InvalidSpec("mirror: what is new gets to MLflow by itself; --to URL copies all to another server")
    copy_to(to, study, home)


def copy_to(url: str, study: str | None, home: Path | None) -> None:
    """Run the copy in a process of its own: the command line knows nothing of the store, nor of MLflow."""
    import subprocess

    from talweg.local.children import module
    from talweg.local.environment import environment
    from talweg.local.folder import Folder

    settings = read_settings(home=home)
    folder = Folder.of(settings.home)
    variables = environment(settings, folder)
    if settings.database_url is None:
        if settings.url is not None and home is None:
            raise InvalidSpec("mirror: --to reads the laboratory's database; TALWEG_DATABASE_URL must name it")
        variables["TALWEG_DATABASE_URL"] = f"sqlite:///{folder.database}"
    command = [*module("talweg.tracking"), "--to", url, *([] if study is None else [study])]
    done = subprocess.run(command, env=variables, check=False)  # noqa: S603
    if done.returncode:
        raise typer.Exit(done.returncode)
    hint(f"open {url} in a browser")
