"""A body on its way to a file: as it comes, and bounded in how many there are at once.

How large one may be, and how long it may take, the guard sees to.
"""

import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO, Final

from anyio.to_thread import run_sync
from fastapi import Request

from talweg.errors import LimitReached

# Each takes as much disk as an upload may have.
AT_ONCE: Final = 4
_places: Final = threading.BoundedSemaphore(AT_ONCE)


@asynccontextmanager
async def spooled(request: Request) -> AsyncIterator[IO[bytes]]:
    """The request's body in a file that nobody else sees, and that is gone afterwards, whatever happens.

    Raises:
        LimitReached: as many come in already as may.
    """
    if not _places.acquire(blocking=False):
        busy = LimitReached(f"datasets: {AT_ONCE} are coming in already; send it again later")
        busy.retry_after = 10.0
        raise busy
    try:
        # It has no name: the kernel takes it away with the process.
        with tempfile.TemporaryFile() as file:
            async for piece in request.stream():
                await run_sync(file.write, piece)
            yield file
    finally:
        _places.release()
