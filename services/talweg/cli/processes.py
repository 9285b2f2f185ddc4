"""The processes of a stack, as people read them."""

import difflib
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from talweg.cli.output import clean, data, hint, say, table
from talweg.errors import InvalidSpec
from talweg.local.folder import Folder

if TYPE_CHECKING:
    from talweg.local import StackState


# Bytes: with fewer free, a disk is full.
_FULL = 1_000_000


def show(state: "StackState", home: Path, *, wide: bool) -> None:
    """The stack of `home` on stdout; what went wrong, and what to do, on stderr."""
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
            say(f"{child.name}: ended unasked {_ago(child.last_exit_at)} ago, {child.last_exit}; its last lines:")
            for line in child.last_lines:
                say(f"    {clean(line)}")
    if state.error is not None:
        say(clean(state.error["message"], keep="\n"))
    free = shutil.disk_usage(home).free
    if free < _FULL:
        say(
            f"The disk is full, {free / 1e6:.1f} MB are free in {home}: reading goes on, nothing can be recorded, and "
            "what is shown here may be out of date. Make room: what waits goes on by itself."
        )
        hint("make room; talweg doctor says how much is needed")
        return
    crashed = next((child.name for child in state.children if child.last_exit is not None), None)
    if state.phase == "failed":
        hint("talweg up")
    else:
        hint(f"talweg logs {crashed}" if crashed else "talweg runs, talweg ui; talweg down ends it")


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
