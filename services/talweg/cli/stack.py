"""The local stack: up, down, status, logs, ui, migrate; and its processes as a table."""

import difflib
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from talweg.cli.output import (
    AsJson,
    Home,
    Wide,
    as_json,
    clean,
    data,
    find,
    hint,
    laboratory,
    read_settings,
    say,
    table,
)
from talweg.errors import ChildFailed, InvalidSpec, LocalStackError, TalwegError, Unreachable
from talweg.local.folder import Folder

if TYPE_CHECKING:
    from talweg.local import StackState

# Bytes: with fewer free, a disk is full.
_FULL = 1_000_000
_UI_SECONDS = 180.0


def show(state: "StackState", home: Path, *, wide: bool) -> None:
    """Print the stack of `home` on stdout; errors, and what to do, on stderr."""
    from talweg.client import Table

    rows = tuple(
        (child.name, child.phase, child.pid, _ago(child.since), child.restarts or None, child.url)
        for child in state.children
    )
    title = f"Talweg {state.version} is {state.phase}" + (f" at {state.url}" if state.url else "")
    data(title)
    table(
        Table(("process", "state", "pid", "since", "restarts", "address"), rows, first=("process", "state", "address")),
        wide=wide,
    )
    for child in state.children:
        if child.last_exit is not None:
            say(f"{child.name}: ended unexpectedly {_ago(child.last_exit_at)} ago, {child.last_exit}; its last lines:")
            for line in child.last_lines:
                say(f"    {clean(line)}")
    if state.error is not None:
        say(clean(state.error["message"], keep="\n"))
    free = shutil.disk_usage(home).free
    if free < _FULL:
        say(
            f"The disk is full, {free / 1e6:.1f} MB are free in {home}: reading works, nothing can be recorded, and "
            "what is shown here may be out of date. Make room: what waits continues by itself."
        )
        hint("make room; talweg doctor says how much is needed")
        return
    crashed = next((child.name for child in state.children if child.last_exit is not None), None)
    if state.phase == "failed":
        hint("talweg up")
    else:
        hint(f"talweg logs {crashed}" if crashed else "talweg runs, talweg ui; talweg down stops it")


def chosen_logs(home: Path, names: list[str]) -> tuple[Path, dict[str, Path]]:
    """The folder of the logs, and those that `names` names (all, where it names none).

    Raises:
        InvalidSpec: There is no log of a name; names the nearest.
    """
    folder = Folder.of(home).logs
    paths = {path.stem: path for path in sorted(folder.glob("*.log"))}
    for name in names:
        if name not in paths:
            near = difflib.get_close_matches(name, paths, n=1)
            known = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(paths) or 'none yet'}"
            raise InvalidSpec(f"logs: no process is named {name!r}; {known}")
    return folder, {name: paths[name] for name in names} if names else paths


def _ago(moment: float | None) -> str | None:
    if moment is None:
        return None
    seconds = max(0, int(time.time() - moment))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def up(
    home: Home = None,
    port: Annotated[
        int | None, typer.Option(help="The API's port; 0 for any.", show_default="8000 or next free")
    ] = None,
    mlflow_port: Annotated[
        int | None, typer.Option(help="MLflow's port; 0 for any.", show_default="5055 or next free")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes.", show_default="2")] = None,
    json: AsJson = False,
) -> None:
    """Start the local stack.

    It runs until talweg down, also after this shell ends.
    """
    from talweg.local import ensure

    settings = read_settings(home=home, port=port, mlflow_port=mlflow_port, workers=workers)
    found = ensure(settings.home, settings=settings)
    if not found.started and (port, mlflow_port, workers) != (None, None, None):
        say("talweg: it runs already, with its own settings; to change them, run talweg down first")
    if json:
        as_json({"url": found.url, "mlflow_url": found.mlflow_url, "home": found.home, "started": found.started})
        return
    data(found.url)
    hint("talweg demo, talweg status, talweg ui; talweg down stops it")


def down(home: Home = None, json: AsJson = False) -> None:
    """Stop the local stack; records stay.

    Unfinished runs continue when it is started again.
    """
    from talweg.local import stop

    where = read_settings(home=home).home
    ended = stop(where)
    if json:
        as_json({"ended": ended})
        return
    say(f"Ended: {', '.join(ended)}." if ended else f"Nothing runs in {where}.")
    hint("talweg up starts it again, with everything that was recorded")


def status(home: Home = None, json: AsJson = False, wide: Wide = False) -> None:
    """What runs, since when, and what crashed.

    The exit status is 1 if nothing runs.
    """
    settings = read_settings(home=home)
    if settings.url is not None and home is None:
        with laboratory(None) as lab:
            as_json({"url": lab.url, **lab.status()})
        return
    from talweg.local import status as status_of

    state = status_of(settings.home)
    if json:
        as_json({"phase": "stopped"} if state is None else state.to_json())
    elif state is None:
        say(f"Nothing runs in {settings.home}.")
        hint("talweg up")
    else:
        show(state, settings.home, wide=wide)
        if state.phase == "ready":
            say_mirror(home)
    if state is None or state.phase == "failed":
        raise typer.Exit(1)


def say_mirror(home: Path | None) -> None:
    """Say how far the mirror to MLflow is, unless it has everything or the API does not answer."""
    try:
        with laboratory(home) as lab:
            mirror = lab.status()["mirror"]
    except TalwegError:
        # `show` says what does not run.
        return
    if mirror["waiting"]:
        say(f"MLflow: {backlog(**mirror)}.")


def backlog(*, runs: int, waiting: int, seconds_left: float | None) -> str:
    """`1,240 of 2,000 runs are there, about 8 minutes left`."""
    left = "none got there in the last minute"
    if seconds_left is not None:
        left = (
            f"about {seconds_left / 60:.0f} minutes left" if seconds_left >= 90 else f"about {seconds_left:.0f} s left"
        )
    return f"{runs - waiting:,} of {runs:,} runs are there, {left}"


def logs(
    names: Annotated[list[str] | None, typer.Argument(help="Processes, as `talweg status` names them.")] = None,
    home: Home = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines of each.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new lines until Ctrl-C.")] = False,
) -> None:
    """The logs of the local stack's processes."""
    from talweg.local.folder import follow as following
    from talweg.local.folder import tail

    folder, paths = chosen_logs(read_settings(home=home).home, names or [])
    if not paths:
        say(f"No process has written a log in {folder} yet.")
        hint("talweg up")
        return
    width = max(map(len, paths))
    for name, path in paths.items():
        for line in tail(path, lines):
            data(f"{name:<{width}} | {line}")
    if follow:
        for name, line in following(paths, going=lambda: True):
            data(f"{name:<{width}} | {line}")
            sys.stdout.flush()
    hint("talweg logs --follow; talweg status")


def ui(
    study: Annotated[str | None, typer.Argument(help="A study or a run to open there.")] = None,
    home: Home = None,
    browser: Annotated[bool, typer.Option(help="Open a browser where there is a desktop.")] = True,
) -> None:
    """Print MLflow's address once it answers, and open it."""
    settings = read_settings(home=home)
    if settings.url is not None and home is None:
        with laboratory(None) as lab:
            url = lab.status()["mlflow_url"]
    else:
        from talweg.local import ensure

        url = ensure(settings.home, settings=settings).mlflow_url
        _wait_for_mlflow(settings.home, url)
    if url is None:
        raise LocalStackError("MLflow: this laboratory has none; set TALWEG_MLFLOW_URL")
    if study is not None:
        with laboratory(home) as lab:
            url = find(lab, study).mlflow_url or url
    data(url)
    sys.stdout.flush()
    if browser and (sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        import webbrowser

        webbrowser.open(url)
    hint(f"open {url} in a browser; talweg down stops it")


def migrate(home: Home = None) -> None:
    """Bring the database to this version's schema, as up does."""
    settings = read_settings(home=home)
    environment = dict(os.environ)
    if settings.database_url is not None:
        environment["TALWEG_DATABASE_URL"] = settings.database_url.get_secret_value()
    else:
        folder = Folder.of(settings.home)
        folder.prepare()
        environment["TALWEG_DATABASE_URL"] = f"sqlite:///{folder.database}"
    run_module("talweg.store.migrate", environment=environment)
    hint("talweg up")


def run_module(name: str, *arguments: str, environment: Mapping[str, str]) -> None:
    """Run one of Talweg's modules in a new process: the command line imports neither the store nor MLflow.

    Raises:
        typer.Exit: with the process's exit status, if that is not 0.
    """
    import subprocess

    from talweg.local.stack_plan import module

    command = [*module(name), *arguments]
    done = subprocess.run(command, env=environment, check=False)  # noqa: S603 - ourselves, without a shell
    if done.returncode:
        raise typer.Exit(done.returncode)


def _wait_for_mlflow(home: Path, url: str | None) -> None:
    from talweg.local import status as status_of

    deadline = time.monotonic() + _UI_SECONDS
    announced = False
    while (state := status_of(home)) is not None and (mlflow := state.child("mlflow")) is not None:
        if mlflow.phase == "running":
            return
        if mlflow.restarts >= 2 or state.phase == "failed":
            raise ChildFailed(_last_lines(state))
        if time.monotonic() > deadline:
            raise Unreachable(f"MLflow: {url} has not answered for {_UI_SECONDS:.0f} s; talweg logs mlflow")
        if not announced:
            announced = True
            say("MLflow is starting; that takes about ten seconds.")
        time.sleep(0.1)


def _last_lines(state: "StackState") -> str:
    mlflow = state.child("mlflow")
    lines = "".join(f"\n    {line}" for line in mlflow.last_lines) if mlflow else ""
    return f"mlflow: ended, {mlflow.last_exit if mlflow else 'unexpectedly'}; its last lines:{lines}"
