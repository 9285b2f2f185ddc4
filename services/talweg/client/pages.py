"""Lists that come in pages."""

from collections.abc import Iterator
from typing import Any, Final

from talweg.client.wire import Wire

PAGE: Final = 200


def every(wire: Wire, path: str, *, limit: int | None = None, **query: Any) -> Iterator[dict[str, Any]]:
    """Each item of a list, asked for page by page as it is gone through; at most `limit` of them."""
    cursor: str | None = None
    left = limit
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        page = wire.get(path, limit=size, cursor=cursor, **query)
        yield from page["items"]
        cursor = page["next"]
        if cursor is None:
            return
        left = None if left is None else left - len(page["items"])
