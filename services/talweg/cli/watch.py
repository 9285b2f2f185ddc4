"""Wait in a terminal, with a progress bar for each optimizer; Ctrl-C stops only the waiting."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from talweg.cli.output import clean, say, view_of
from talweg.errors import LocalStackError, RunFailed, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress as Bars

    from talweg.client import Lab, Run, Study
    from talweg.client.waiting import Message, MessagePrinter

OVER = frozenset({"finished", "failed", "cancelled"})
# A study of more runs has one bar for all of them.
_MANY = 200


def watch(lab: "Lab", work: "Run | Study") -> None:
    """Return when `work` has ended; show its progress on stderr if that is a terminal.

    Raises:
        RunFailed: It failed; the message holds the reason.
        LocalStackError: The local stack was stopped.
        KeyboardInterrupt: Ctrl-C, after a message that the work continues, and how to wait again.
    """
    from talweg.client.waiting import polls

    try:
        with _bars() as show:
            for wait in polls(work):
                view = view_of(work)
                # The bars do not change while the laboratory does not answer.
                with suppress(Unreachable, LocalStackError):
                    show({} if wait.unreachable else _progress(lab, view), wait.message)
    except KeyboardInterrupt:
        name = clean(work.name)
        say(f"\nStopped waiting; the {work.kind} {name} continues.")
        say(f"Next: talweg show {name} --wait waits again, talweg cancel {name} cancels it.")
        raise
    _raise_failure(lab, view)


def _raise_failure(lab: "Lab", view: dict[str, Any]) -> None:
    """Raise RunFailed if a run failed, with the last line of the traceback; `talweg show` prints all of it."""
    failed = [view] if view["state"] == "failed" and "seed" in view else []
    if view.get("counts", {}).get("failed"):
        failed = [view_of(run) for run in lab.runs(study=view["id"], state="failed", limit=1)]
    if failed:
        lines = [line for line in (failed[0]["error"] or "").splitlines() if line.strip()]
        many = f"{view['counts']['failed']} of {view['runs']} runs failed, as " if "counts" in view else ""
        name = clean(failed[0]["name"])
        reason = clean(_reason(lines))
        raise RunFailed(f"{many}run {name} failed: {reason}; talweg show {name} prints all of it")


def _reason(lines: list[str]) -> str:
    """The line of a traceback that names the exception; the last line where there is none."""
    named = [line for line in lines if re.match(r"[A-Za-z_][\w.]*(Error|Exception|Lost|Diverged|Warning)\b", line)]
    return (named or lines or ["no reason was recorded"])[-1][:300]


def label(optimizer: dict[str, Any], among: list[dict[str, Any]]) -> str:
    """An optimizer's name, with the settings that differ among those of that name."""
    same = [other for other in among if other["name"] == optimizer["name"]]
    differing = [key for key in optimizer if any(other.get(key) != optimizer[key] for other in same)]
    return " ".join([optimizer["name"], *(f"{key} {optimizer[key]}" for key in differing)])


def _progress(lab: "Lab", view: dict[str, Any]) -> dict[str, tuple[int, int, str]]:
    """(steps made, steps in all, words) of each bar."""
    if "seed" in view:
        return {view["name"]: (view["step"], view["steps"], _cost([view]))}
    if view["runs"] > _MANY:
        return {view["name"]: (view["steps_done"], view["steps_total"], f"{view['runs']} runs")}
    groups: dict[str, list[dict[str, Any]]] = {}
    for seen in map(view_of, lab.runs(study=view["id"], limit=_MANY)):
        groups.setdefault(json.dumps(seen["spec"]["optimizer"], sort_keys=True), []).append(seen)
    optimizers = {key: runs[0]["spec"]["optimizer"] for key, runs in groups.items()}
    bars = {}
    for key, runs in sorted(groups.items(), key=lambda item: min(run["id"] for run in item[1])):
        done = sum(run["steps"] if run["state"] in OVER else run["step"] for run in runs)
        bars[label(optimizers[key], list(optimizers.values()))] = (done, sum(run["steps"] for run in runs), _cost(runs))
    return bars


def _cost(runs: list[dict[str, Any]]) -> str:
    costs = sorted(run["cost"] for run in runs if run["cost"] is not None)
    return f"cost {costs[len(costs) // 2]:.4f}" if costs else ""


@contextmanager
def _bars() -> "Iterator[Callable[[dict[str, tuple[int, int, str]], Message | None], None]]":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from talweg.client.waiting import MessagePrinter

    console = Console(stderr=True)
    if not console.is_terminal:
        messages = MessagePrinter(lambda text: say(clean(text)))
        yield lambda _, message: messages.show(message)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[words]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        above = partial(console.print, markup=False, highlight=False, soft_wrap=True)
        yield _Drawing(bars, MessagePrinter(lambda text: above(clean(text)))).show


class _Drawing:
    """One bar for each name, added when the name first appears."""

    def __init__(self, bars: "Bars", messages: "MessagePrinter") -> None:
        self._bars, self._messages = bars, messages
        self._tasks: dict[str, Any] = {}

    def show(self, progress: dict[str, tuple[int, int, str]], message: "Message | None") -> None:
        self._messages.show(message)
        for name, (done, total, words) in progress.items():
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(clean(name), total=total, words="")
            self._bars.update(self._tasks[name], completed=done, total=max(1, total), words=words)
