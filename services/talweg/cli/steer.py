"""Steering work that was handed in: pause, unpause, retry."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from talweg.cli.options import AsJson, Home, laboratory
from talweg.cli.output import as_json, clean, data, hint

if TYPE_CHECKING:
    from talweg.client import Run, Study

Name = Annotated[str, typer.Argument(help="A run or a study, by name or id.")]


def pause(name: Name, home: Home = None, json: AsJson = False) -> None:
    """Let a run or a study rest; it takes no worker until talweg unpause."""
    work = steer("pause", name, home, json)
    hint(f"talweg unpause {clean(work.name)}")


def unpause(name: Name, home: Home = None, json: AsJson = False) -> None:
    """Let a run or a study go on from where it rests."""
    work = steer("unpause", name, home, json)
    hint(f"talweg show {clean(work.name)} --wait")


def retry(name: Name, home: Home = None, json: AsJson = False) -> None:
    """Queue a failed run, or the failed runs of a study, again; each goes on from its last recorded step."""
    work = steer("retry", name, home, json)
    hint(f"talweg show {clean(work.name)} --wait")


def steer(what: str, name: str, home: Path | None, json: bool) -> "Run | Study":
    """Call the method of that name on the run or study, and print how it stands."""
    from talweg.cli.look import find

    with laboratory(home) as lab:
        work = getattr(find(lab, name), what)()
        found = {"id": work.id, "name": work.name, "state": work.state, "paused": work.view["paused"]}
    words = f"{found['state']}, paused" if found["paused"] else found["state"]
    as_json(found) if json else data(f"{clean(work.name)}: {words}")
    return work  # type: ignore[no-any-return]  # by name: one of two classes with the same methods
