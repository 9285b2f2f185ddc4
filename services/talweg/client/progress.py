"""Progress of what is waited for: server-sent events, a bar in a terminal or a notebook, and the lines beside it."""

import html
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

Show = Callable[["Progress"], None]

log = logging.getLogger("talweg.client")


class Events:
    """What lines told so far; a reader that comes again goes on with the same."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.over = False
        self._name = ""
        self._last: dict[str, Any] | None = None

    def take(self, line: str) -> dict[str, Any] | None:
        """The progress that this line tells, where it is another than was told before."""
        if line.startswith("event:"):
            self._name = line.removeprefix("event:").strip()
        elif line.startswith("data:") and self._name in ("progress", "end"):
            told = json.loads(line.removeprefix("data:"))
            self.over = self.over or self._name == "end"
            if told != self._last:
                self._last = told
                return dict(told)
        return None

    def through(self, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
        """What these lines tell."""
        for line in lines:
            told = self.take(line)
            if told is not None:
                yield told


@dataclass(frozen=True)
class Note:
    """Why nothing goes on, as a sentence; one of the same `kind` says the same, whatever it counts."""

    kind: str
    text: str


@dataclass(frozen=True)
class Progress:
    """`done` of `total` steps, and the rest in words ("running, step 12 of 500, cost 0.31")."""

    done: int
    total: int
    words: str
    over: bool
    note: Note | None = None


class Notes:
    """Says each note once, as long as it is the same; of several that wait, whichever has it first says it."""

    def __init__(self, put: Callable[[str], None]) -> None:
        """`put` shows one line."""
        self._put = put
        self._had: dict[object, str] = {}

    def say(self, note: Note | None, of: object = None) -> None:
        """What there is to say now, where it is another than before."""
        if note is not None:
            if note.kind not in self._had.values():
                self._put(note.text)
            self._had[of] = note.kind
        elif self._had.get(of) != "queue":
            # A queue moves and rests by turns, which is no news.
            self.forget(of)

    def forget(self, of: object) -> None:
        """It waits no more."""
        self._had.pop(of, None)


def say(line: str) -> None:
    """One line for people; stdout is for data."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201  # the one place where the client prints


@contextmanager
def meter(name: str, *, shown: bool) -> Iterator[Show]:
    """What to call with each new Progress of `name`; what it shows ends with the block."""
    if not shown:
        quiet = Notes(log.info)
        yield lambda progress: quiet.say(progress.note)
    elif _in_notebook():
        yield _Notebook(name).show
    elif sys.stderr.isatty():
        with _terminal(name) as show:
            yield show
    else:
        yield partial(_plain, name, Notes(say))


def _plain(name: str, notes: Notes, progress: Progress) -> None:
    notes.say(progress.note)
    if progress.over:
        say(f"{name}: {progress.words}")


@contextmanager
def _terminal(name: str) -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[words]}", markup=False),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(name, total=None, words="")
        notes = Notes(partial(bars.console.print, markup=False, highlight=False, soft_wrap=True))

        def show(progress: Progress) -> None:
            # Above the bar, which has no room for a sentence.
            notes.say(progress.note)
            # Over is over: a run that diverged or was cancelled has fewer steps than were asked for.
            total = progress.done if progress.over else progress.total
            bars.update(task, completed=progress.done, total=max(total, 1), words=progress.words)
            if progress.over:
                bars.update(task, completed=max(total, 1))

        yield show


class _Notebook:
    """One output that is updated in place and stays, in its last form, when the notebook is saved."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.handle: Any = None

    def show(self, progress: Progress) -> None:
        display = import_module("IPython.display")
        note = progress.note
        percent = 100 if progress.over else 100 * progress.done // max(progress.total, 1)
        page = display.HTML(
            f'<div>{html.escape(self.name)} <progress value="{percent}" max="100"></progress> '
            f"{html.escape(progress.words)}{'' if note is None else f'<br>{html.escape(note.text)}'}</div>"
        )
        if self.handle is None:
            self.handle = display.display(page, display_id=True)
        else:
            self.handle.update(page)


def _in_notebook() -> bool:
    """Whether this process is a Jupyter kernel; IPython is looked at only if it is loaded already."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"
