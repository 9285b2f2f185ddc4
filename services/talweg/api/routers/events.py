"""Progress as it happens: server-sent events of one run."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from anyio.to_thread import run_sync
from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from talweg.api.context import Here, Laboratory
from talweg.api.parameters import Reference
from talweg.errors import LimitReached, TalwegError
from talweg.store import RunRow

router = APIRouter(prefix="/v1/runs/{run}", tags=["runs"])

MEDIA_TYPE: Final = "text/event-stream"
EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
        "description": "Events `progress` (step, steps, cost, state), and `end` as the last one of a run that is over.",
    }
}
# Seconds between two looks at the run, between two signs of life, and until a reader has to come again: then its
# token is looked at anew.
LOOK: Final = 0.25
ALIVE: Final = 15.0
LONGEST: Final = 600.0
# Readers at once: each costs the database four questions a second.
READERS: Final = 64
_places: Final = threading.BoundedSemaphore(READERS)


@router.get("/events", responses=EVENTS, response_class=StreamingResponse)
async def events(here: Here, run: Reference) -> StreamingResponse:
    """The run's progress whenever it changed, until it is over or ten minutes have passed; then ask again."""
    row = await run_sync(here.store.run, run)
    if not _places.acquire(blocking=False):
        raise LimitReached(f"events: at most {READERS} readers at once; ask for the run instead")
    return StreamingResponse(_events(here, row), media_type=MEDIA_TYPE)


async def _events(here: Laboratory, row: RunRow) -> AsyncIterator[str]:
    try:
        began = spoken = time.monotonic()
        said = ""
        yield "retry: 1000\n\n"
        while True:
            now = time.monotonic()
            told = _told(row)
            if told != said:
                said, spoken = told, now
                yield f"event: progress\ndata: {told}\n\n"
            elif now - spoken > ALIVE:
                spoken = now
                yield ": alive\n\n"
            if row.ended:
                yield f"event: end\ndata: {told}\n\n"
                return
            if now - began > LONGEST:
                return
            await asyncio.sleep(LOOK)
            try:
                row = await run_sync(here.store.run, row.id)
            except TalwegError:
                # The answer has begun, so it can only end; the reader asks again, and is told then.
                return
    finally:
        _places.release()


def _told(row: RunRow) -> str:
    return json.dumps(
        {
            "id": row.id,
            "state": row.state,
            "stop_reason": row.stop_reason,
            "step": row.step,
            "steps": row.total_steps,
            "cost": row.cost,
            "best_cost": row.best_cost,
        },
        allow_nan=False,
    )
