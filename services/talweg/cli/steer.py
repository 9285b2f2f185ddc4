"""Steering work that was handed in: pause, unpause, retry, mirror."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from talweg.cli.options import AsJson, Home, laboratory
from talweg.cli.output import as_json, clean, data, hint
from talweg.errors import InvalidSpec

if TYPE_CHECKING:
    from talweg.client import Run, Study

Name = Annotated[str, typer.Argument(help="A run or a study, by name or id.")]


def pause(name: Name, home: Home = None, json: AsJson = False) -> None:
    """Let a run or a study rest; it takes no worker until talweg unpause."""
    work = _steer("pause", name, home, json)
    hint(f"talweg unpause {clean(work.name)}")


def unpause(name: Name, home: Home = None, json: AsJson = False) -> None:
    """Let a run or a study go on from where it rests."""
    work = _steer("unpause", name, home, json)
    hint(f"talweg show {clean(work.name)} --wait")


def retry(name: Name, home: Home = None, json: AsJson = False) -> None:
    """Queue a failed run, or the failed runs of a study, again; each goes on from its last recorded step."""
    work = _steer("retry", name, home, json)
    hint(f"talweg show {clean(work.name)} --wait")


def mirror(
    name: Name,
    again: Annotated[bool, typer.Option("--again", help="Send what MLflow was sent before, too.")] = False,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Rebuild a run or a study in MLflow from what is recorded.

    What is new gets there by itself; this is for a server that lost what it had. What was deleted there stays so.
    """
    if not again:
        raise InvalidSpec("mirror: what is new gets to MLflow by itself; --again sends everything once more")
    work = _steer("mirror_again", name, home, json)
    hint(f"talweg ui {clean(work.name)}")


def _steer(what: str, name: str, home: Path | None, json: bool) -> "Run | Study":
    from talweg.cli.look import find

    with laboratory(home) as lab:
        work = getattr(find(lab, name), what)()
        found = {"id": work.id, "name": work.name, "state": work.state, "paused": work.view["paused"]}
    words = f"{found['state']}, paused" if found["paused"] else found["state"]
    as_json(found) if json else data(f"{clean(work.name)}: {words}")
    return work  # type: ignore[no-any-return]  # by name: one of two classes with the same methods
