"""Why a run or a study waits: the first reason that applies."""

import os
import re
import time
from typing import Final, Literal

from pydantic import BaseModel

from talweg.api.dependencies import Laboratory
from talweg.local.folder import Folder
from talweg.local.supervisor_plan import ChildState, read
from talweg.store import Waits

Kind = Literal["paused", "worker-lost", "broker", "database", "no-worker", "no-reconciler", "queue", "not-taken"]

# Seconds from a worker's start until it listens, on a busy machine.
_START: Final = 60.0
_LINE: Final = 300
_EXCEPTION: Final = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Warning): ")


class Reason(BaseModel):
    """Why the work waits. `text` is part of a sentence, and may contain counts that change while `kind` does not."""

    kind: Kind
    text: str


def reason_of(here: Laboratory, waits: Waits, *, more: bool = False) -> Reason | None:
    """None if a worker trains it or nothing is left to train; `more`: its next stage has still to be submitted."""
    if waits.held:
        return None
    if waits.silent is not None:
        text = f"its worker {waits.silent} is silent, {waits.silent_seconds:.0f} s past its lease"
        return Reason(kind="worker-lost", text=f"{text}; the reconciler gives it to another worker")
    if waits.queued:
        return _of_queued(here, waits)
    if waits.paused:
        return Reason(kind="paused", text="it is paused; `unpause` continues it")
    if more and here.store.signs().reconciler is None:
        return Reason(kind="no-reconciler", text="its next stage is due, and no reconciler runs to submit it")
    return None


def _of_queued(here: Laboratory, waits: Waits) -> Reason:
    if not here.broker.answers():
        ended = _ended(_children(here, "broker"))
        text = f"the broker is down: {ended}" if ended else "the broker does not answer"
        return Reason(kind="broker", text=f"{text}; nothing is lost, it continues when the broker is back")
    if waits.stopped is not None:
        return Reason(kind="database", text=f"a worker could not record ({waits.stopped}) and put it back in the queue")
    listeners = here.broker.listeners()
    if not waits.working and not listeners:
        return Reason(kind="no-worker", text=_no_worker(here, listeners))
    if waits.unpublished and here.store.signs().reconciler is None:
        text = "its message did not reach the broker, and no reconciler runs to send it again"
        return Reason(kind="no-reconciler", text=text)
    if waits.working:
        position = (
            f"{_counted(waits.ahead, 'cohort')} before it in the queue" if waits.ahead else "it is next in the queue"
        )
        return Reason(kind="queue", text=f"{position}, {_counted(waits.working, 'worker')} at work")
    text = f"{_counted(listeners or 0, 'idle worker')}, and none claims it; their logs say why"
    return Reason(kind="not-taken", text=text)


def _no_worker(here: Laboratory, listeners: int | None) -> str:
    workers = _children(here, "worker-")
    if ended := _ended(workers):
        return f"no worker is alive: {ended}"
    if any(child.since is None or time.time() - child.since < _START for child in workers):
        return "no worker is alive yet; the workers are starting"
    if workers:
        return "workers run, but none listens at this laboratory's broker; talweg logs shows where they listen"
    alive = "at work" if listeners is None else "connected to the broker"
    return f"no worker is {alive}; start one: python -m talweg.execution.worker (talweg up does)"


def _children(here: Laboratory, name: str) -> list[ChildState]:
    """The local stack's processes whose names start with `name`; none if this process is not a local stack's API."""
    state = read(Folder.of(here.settings.home))
    api = None if state is None else state.child("api")
    if state is None or api is None or api.pid != os.getpid():
        return []
    return [child for child in state.children if child.name.startswith(name)]


def _ended(children: list[ChildState]) -> str | None:
    """How `children` ended, and the last line that names an exception, or else the last line; None if none ended."""
    ended = [child for child in children if child.last_exit is not None]
    if not ended:
        return None
    lines = [line.strip() for child in ended for line in child.last_lines if line.strip()]
    # The first line of an exception's message is the one that says most.
    named = [line for line in lines if _EXCEPTION.match(line)] or lines
    reason = f": {named[-1][:_LINE]}" if named else ", with an empty log"
    return f"{' and '.join(child.name for child in ended)} ended ({ended[-1].last_exit}){reason}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
