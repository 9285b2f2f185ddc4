"""The outermost layer: headers that every answer has, and one log line for every change."""

import time
from typing import Final

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from talweg.api.guard import READING

log = structlog.get_logger("talweg.api")

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    # Reports bring their own style and pictures and nothing else; a script in a name stays text.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox",
}


# What a browser may show as it comes: plain data.
SHOWN: Final = frozenset({"", "application/json", "application/problem+json", "text/plain", "text/event-stream"})


class Trace:
    """ASGI middleware: who changed what is logged as `changed`, what was only read as `read` (debug)."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`, which must hold the guard: the token's name is known only behind it."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on; neither headers nor query nor body are logged, since they may hold secrets."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})
        status, made, began = 500, None, time.perf_counter()
        answered = None

        async def dressed(message: Message) -> None:
            nonlocal status, made, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], time.perf_counter()
                headers = MutableHeaders(scope=message)
                made = headers.get("location")
                for name, value in HEADERS.items():
                    headers[name] = value
                if headers.get("content-type", "").partition(";")[0] not in SHOWN:
                    # Pages and pictures hold what users wrote: a browser saves them, and never runs them as ours.
                    headers["Content-Disposition"] = "attachment"
            await send(message)

        try:
            await self.app(scope, receive, dressed)
        finally:
            say, event = (log.debug, "read") if scope["method"] in READING else (log.info, "changed")
            say(
                event,
                method=scope["method"],
                path=scope["path"],
                status=status,
                # What was made, where something was: its place says which one.
                **({} if made is None else {"made": made}),
                token=scope["state"].get("token"),
                # Until the answer began: how long it then takes to go out is the other side's doing.
                milliseconds=round(((answered or time.perf_counter()) - began) * 1000, 1),
            )
