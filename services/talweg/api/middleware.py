"""ASGI middleware around every route.

In this order: response headers and a log line; checks of host, origin, token, scope and rate; limits of the body's size
and time.
"""

import math
import re
import time
from collections.abc import Iterable
from typing import Final

import anyio
import structlog
from anyio.to_thread import run_sync
from fastapi import Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from talweg.api.dependencies import Laboratory
from talweg.api.errors import CODES, problem, refuse
from talweg.api.tokens import Rates, allows, authenticate, rate_of
from talweg.errors import AccessDenied, TalwegError, Unreachable

PUBLIC: Final = frozenset({"/healthz", "/readyz"})
# Maximum seconds between two parts of a body.
IDLE: Final = 30.0
# Maximum seconds for a whole JSON body: a sender of a byte now and then would hold a connection for days.
LONGEST: Final = 120.0
# A refused body is read and discarded for at most so many seconds and bytes.
LINGER: Final = 2.0
LINGER_BYTES: Final = 16_000_000
log = structlog.get_logger("talweg.api")

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
MAXIMUM_BODY: Final = 1_000_000
# These routes need the scope admin.
TOKENS: Final = "/v1/tokens"
# A PUT there sends a file, not JSON.
DATASETS: Final = "/v1/datasets/"
JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"
HOST: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?P<port>:[0-9]{1,5})?")
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    # Reports contain inline styles and pictures only; a script in a name cannot run.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox",
}


# Plain data, which a browser may display.
SHOWN: Final = frozenset({"", "application/json", "application/problem+json", "text/plain", "text/event-stream"})


def has_body(headers: Headers) -> bool:
    """Whether the headers announce a body."""
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


class Body:
    """The body of one request, limited in size and time."""

    def __init__(self, scope: Scope, receive: Receive, maximum: int, seconds: float) -> None:
        """Pass on at most `maximum` bytes from `receive`, for at most `seconds` from now."""
        self._receive, self._maximum, self._seconds = receive, maximum, seconds
        self._taken, self._until = 0, time.monotonic() + seconds
        self._ended = not has_body(Headers(scope=scope))

    async def receive(self) -> Message:
        """The next part.

        Raises:
            HTTPException: 413 if the body is longer than the maximum (a chunked body states no length); 408 if nothing
                arrives for IDLE, or not all in time: such a sender keeps a connection and a file open.
        """
        if self._ended:
            # After the body only the end of the connection follows, which may take any time.
            return await self._receive()
        left = self._until - time.monotonic()
        try:
            with anyio.fail_after(max(0.0, min(IDLE, left))):
                message = await self._receive()
        except TimeoutError:
            late = f"arrive within {self._seconds:g} s" if left < IDLE else f"continue within {IDLE:g} s, got nothing"
            raise HTTPException(408, f"body: must {late}") from None
        self._taken += len(message.get("body", b""))
        self._ended = message["type"] != "http.request" or not message.get("more_body", False)
        if self._taken > self._maximum:
            self._ended = False
            raise HTTPException(413, f"body: must have at most {self._maximum} bytes, got more")
        return message

    def closing(self, send: Send) -> Send:
        """A `send` that closes the connection after it has refused a body that was not read to its end.

        An open connection would hang: the client waits to send more, and nothing reads it. A connection that is
        closed while the client writes is reset, and the answer may be lost (RFC 9112, 9.6): the rest of the body is
        discarded first.
        """
        refused = False

        async def send_and_close(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] >= 400 and not self._ended:
                refused = True
                MutableHeaders(scope=message)["Connection"] = "close"
            if refused and message["type"] == "http.response.body" and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await self._discard_rest()
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        return send_and_close

    async def _discard_rest(self) -> None:
        more, taken = True, 0
        with anyio.move_on_after(LINGER):
            while more and taken <= LINGER_BYTES:
                message = await self._receive()
                more = message["type"] == "http.request" and message.get("more_body", False)
                taken += len(message.get("body", b""))


class Refused(Exception):
    """A request that is refused, with its answer."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        """Answer with `status` and the code that belongs to it."""
        super().__init__(detail)
        self.answer: Response = problem(status, CODES[status], detail)
        self.answer.headers.update({name.replace("_", "-"): value for name, value in headers.items()})


class Guard:
    """ASGI middleware that refuses requests by host, origin, token, scope, rate and body."""

    def __init__(self, app: ASGIApp, laboratory: Laboratory) -> None:
        """Wrap `app`; tokens come from the laboratory's store, hosts from its settings."""
        self.app = app
        self.laboratory = laboratory
        named = laboratory.settings.allowed_hosts.lower().split(",")
        self.hosts = LOOPBACK | {name.strip() for name in named if name.strip()}
        self.rates = Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that is refused; pass others on with a limited body."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        body = Body(scope, receive, self._maximum(scope), self._seconds(scope))
        send = body.closing(send)
        try:
            await self._admit(scope)
        except Refused as refused:
            await refused.answer(scope, receive, send)
        except Unreachable as error:
            # The client is not authenticated: the cause goes to the log only.
            log.error("database", detail=str(error))
            await refuse(Unreachable("the laboratory's database does not answer"))(scope, receive, send)
        except TalwegError as error:
            await refuse(error)(scope, receive, send)
        else:
            await self.app(scope, body.receive, send)

    async def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = self._host(headers.getlist("host"))
        reading = scope["method"] in READING
        if not reading:
            _same_origin(headers.getlist("origin"), host)
        if scope["path"] in PUBLIC and reading:
            return
        token = await run_sync(authenticate, self.laboratory.store, _bearer(headers.getlist("authorization")))
        scope["state"] |= {"token": token.name, "holder": token}
        needed = needed_scope(scope["path"], reading)
        if not allows(token, needed):
            raise Refused(403, f"the token's scope must be {needed!r} or above, got {', '.join(token.scopes)}")
        rate = rate_of(token, self.laboratory.settings)
        if rate is not None and (wait := self.rates.wait(token.digest, rate)) > 0:
            raise Refused(
                429, f"token: must send at most {rate:g} requests a second, sent more", Retry_After=str(math.ceil(wait))
            )
        # A page of another site cannot send a DELETE without a preflight request, and a DELETE has no body.
        if not reading and scope["method"] != "DELETE":
            _check_body(headers, BYTES if _is_dataset(scope) else JSON, self._maximum(scope))

    def _maximum(self, scope: Scope) -> int:
        return self.laboratory.settings.upload_bytes if _is_dataset(scope) else MAXIMUM_BODY

    def _seconds(self, scope: Scope) -> float:
        return self.laboratory.settings.upload_seconds if _is_dataset(scope) else LONGEST

    def _host(self, received: Iterable[str]) -> str:
        """The requested host in lower case; a page of another site can reach a loopback port by a name of its own."""
        host = ",".join(received).lower()
        match = HOST.fullmatch(host)
        if match is None or not {host, match["name"]} & self.hosts:
            raise Refused(421, f"host: must be a loopback name or one of TALWEG_ALLOWED_HOSTS, got {host[:80]!r}")
        return host


def _same_origin(received: list[str], host: str) -> None:
    if any(origin.lower() not in (f"http://{host}", f"https://{host}") for origin in received):
        raise Refused(403, f"origin: must be this laboratory's own where something changes, got {received[0][:80]!r}")


def _bearer(received: list[str]) -> str:
    if len(received) != 1:
        raise AccessDenied("one header `Authorization: Bearer TOKEN` is needed")
    scheme, _, token = received[0].partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise AccessDenied("the header must read `Authorization: Bearer TOKEN`")
    return token.strip()


def needed_scope(path: str, reading: bool) -> str:
    """The scope that a token needs at a path, to read or to change; the OpenAPI document takes it from here."""
    if path == TOKENS or path.startswith(f"{TOKENS}/"):
        return "admin"
    return "read" if reading else "submit"


def _is_dataset(scope: Scope) -> bool:
    path: str = scope["path"]
    return scope["method"] == "PUT" and path.startswith(DATASETS)


def _check_body(headers: Headers, expected: str, maximum: int) -> None:
    """Check the type and the stated length of the body.

    A page of another site can send forms and plain text without a preflight request: both are refused. A request
    without a body, such as a cancel, needs no type.
    """
    length = headers.get("content-length", "0")
    media = headers.get("content-type", "")
    nothing = not media and not has_body(headers)
    if not nothing and media.partition(";")[0].strip().lower() != expected:
        raise Refused(415, f"content-type: must be {expected}, got {media[:80]!r}")
    if not length.isdecimal() or len(length) > 19 or int(length) > maximum:
        raise Refused(413, f"body: must have at most {maximum} bytes, got {length[:20]}")


class Trace:
    """ASGI middleware: response headers, and a log line `changed` (info) or `read` (debug) for each request."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`, which must contain the Guard: that sets the token's name."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. Headers, query and body are not logged: they may contain secrets."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})
        status, made, began = 500, None, time.perf_counter()
        answered = None

        async def send_with_headers(message: Message) -> None:
            nonlocal status, made, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], time.perf_counter()
                headers = MutableHeaders(scope=message)
                made = headers.get("location")
                for name, value in HEADERS.items():
                    headers[name] = value
                if headers.get("content-type", "").partition(";")[0] not in SHOWN:
                    # Pages and pictures contain users' text: a browser saves them, and never runs them at this origin.
                    headers["Content-Disposition"] = "attachment"
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            write, event = (log.debug, "read") if scope["method"] in READING else (log.info, "changed")
            write(
                event,
                method=scope["method"],
                path=scope["path"],
                status=status,
                **({} if made is None else {"made": made}),
                token=scope["state"].get("token"),
                # Until the answer started: how long sending takes depends on the client.
                milliseconds=round(((answered or time.perf_counter()) - began) * 1000, 1),
            )
