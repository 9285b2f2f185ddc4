"""What is wrong with the laboratory, and what to do about it."""

from collections.abc import Iterator

from fastapi import APIRouter
from pydantic import BaseModel

from talweg import queue
from talweg.api.context import Here
from talweg.api.parameters import MAXIMUM_PAGE
from talweg.errors import DiskFull, TalwegError
from talweg.execution.planning import left_to_record, readable_size
from talweg.settings import Settings
from talweg.store import LIVE, RunRow, Signs, Store
from talweg.store.engine import parse, room

router = APIRouter(tags=["laboratory"])

# Seconds after which it is no longer a matter of patience.
_LONG = 60.0
# Bytes: with fewer, a database that grows is soon full.
_ROOM = 1_000_000_000
# And with fewer it is.
_FULL = 1_000_000


class Trouble(BaseModel):
    """One thing that is wrong, in a sentence, and a remedy."""

    what: str
    remedy: str


@router.get("/v1/troubles")
def troubles(here: Here) -> list[Trouble]:
    """Everything that looks wrong, the gravest first; empty where all is well."""
    disk, signs = of_disk(here.settings, here.store), here.store.signs()
    found = of_broker() + of_writing(here.store) + disk + of_store(signs, here.settings, full=_is_full(here.store))
    return [Trouble(what=what, remedy=remedy) for what, remedy in found]


def of_broker() -> list[tuple[str, str]]:
    """Whether it answers."""
    try:
        queue.depth()
    except DiskFull as error:
        return [(str(error), "make room where the broker keeps its file; nothing is lost, and it goes on by itself")]
    except TalwegError as error:
        return [(str(error), "start the broker; nothing is lost meanwhile, the reconciler publishes what waits")]
    return []


def of_writing(store: Store) -> list[tuple[str, str]]:
    """Whether the database takes what is recorded."""
    try:
        store.ping_writing()
    except DiskFull:
        # `of_disk` says it, with what is needed.
        return []
    except TalwegError as error:
        remedy = (
            "end whoever else holds it (a shell with an open transaction, a backup); training waits and then goes on"
        )
        return [(f"nothing can be recorded: {error}", remedy)]
    return []


def of_disk(settings: Settings, store: Store | None = None) -> list[tuple[str, str]]:
    """Whether there is room where the database is, as far as it is a file here, and what `store` will need."""
    if settings.database_url is None:
        return []
    found = room(parse(settings.database_url.get_secret_value()))
    if found is None or found[1] >= _ROOM:
        return []
    folder, free = found
    needed = left_to_record(live(store)) if store is not None else 0
    wanted = f"; what is queued and running will record about {readable_size(needed)} more" if needed else ""
    remedy = "make room; record replay stores less than full. What was recorded is safe, and training goes on by itself"
    return [(f"the disk that holds the records has {free / 1e6:.0f} MB left: {folder}{wanted}", remedy)]


def live(store: Store) -> Iterator[RunRow]:
    """Every run that is queued or running."""
    for state in LIVE:
        cursor = None
        while (page := store.runs(state=state, limit=MAXIMUM_PAGE, cursor=cursor)).items:
            yield from page.items
            if (cursor := page.cursor) is None:
                break


def _is_full(store: Store) -> bool:
    found = store.room()
    return found is not None and found[1] < _FULL


def of_store(signs: Signs, settings: Settings, *, full: bool = False) -> list[tuple[str, str]]:
    """What the database tells of those who should be at work; where its disk is `full`, none can say that it is."""
    found = []
    if signs.stopped is not None:
        remedy = "make room or bring the database back; the cohorts that were left go on by themselves"
        found.append((f"a worker could not record: {signs.stopped}", remedy))
    if signs.reconciler is None and not full:
        found.append(
            (
                "no reconciler is at work: lost messages and dead workers stay unnoticed",
                "start one: python -m talweg.execution.reconciler (talweg up does)",
            )
        )
    if signs.silent and not full:
        what = f"{signs.silent} cohorts were left by workers that are silent for more than their lease"
        found.append((what, "the reconciler takes them back within seconds; if not, look at its log"))
    if signs.waiting and not signs.working and not full and signs.waiting_seconds > _LONG:
        what = f"{signs.waiting} cohorts wait, the first for {signs.waiting_seconds:.0f} s, and no worker is at work"
        found.append((what, "start workers: python -m talweg.execution.worker (talweg up does); look at their logs"))
    if signs.failed:
        what = f"{signs.failed} runs failed, the last with: {signs.reason}"
        found.append((what, "talweg runs --state failed lists them; once mended: talweg retry RUN"))
    if settings.mlflow_url is not None and signs.unmirrored and signs.unmirrored_seconds > _LONG:
        what = f"{signs.unmirrored} runs wait for MLflow, one for {signs.unmirrored_seconds:.0f} s"
        found.append((what, f"is MLflow up at {settings.mlflow_url}? the mirror catches up by itself"))
    return found
