"""What every request passes before any route sees it; a route cannot be added outside of it.

Outermost are headers and a log line for each change; then host, origin, token, scope, rate, and the body, which is
bounded in size and time.
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
# Seconds between two parts of a body, after which its sender is given up.
IDLE: Final = 30.0
# Seconds for the whole of a JSON body: who sends a byte now and then would hold a connection for days.
LONGEST: Final = 120.0
# Seconds for which, and bytes up to which, a refused body is read on and thrown away.
LINGER: Final = 2.0
LINGER_BYTES: Final = 16_000_000
log = structlog.get_logger("talweg.api")

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
MAXIMUM_BODY: Final = 1_000_000
# Whose tokens these are is for those who make them.
TOKENS: Final = "/v1/tokens"
# What is sent there is a file, not JSON.
DATASETS: Final = "/v1/datasets/"
JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"
HOST: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?P<port>:[0-9]{1,5})?")
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


def has_body(headers: Headers) -> bool:
    """Whether a request says that a body follows."""
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


class Body:
    """The body of one request as it comes."""

    def __init__(self, scope: Scope, receive: Receive, maximum: int, seconds: float) -> None:
        """Of what `receive` gives, at most `maximum` bytes are handed on, and only for so many seconds from now."""
        self._receive, self._maximum, self._seconds = receive, maximum, seconds
        self._taken, self._until = 0, time.monotonic() + seconds
        self._ended = not has_body(Headers(scope=scope))

    async def receive(self) -> Message:
        """The next part.

        Raises:
            HTTPException: 413 once more came than may (a chunked body states no length); 408 where nothing comes for
                IDLE, or not all of it in time: such a sender holds a connection and a file open.
        """
        if self._ended:
            # What comes after the body is the end of the connection, which may be waited for.
            return await self._receive()
        left = self._until - time.monotonic()
        try:
            with anyio.fail_after(max(0.0, min(IDLE, left))):
                message = await self._receive()
        except TimeoutError:
            late = f"come within {self._seconds:g} s" if left < IDLE else f"go on within {IDLE:g} s, got nothing"
            raise HTTPException(408, f"body: must {late}") from None
        self._taken += len(message.get("body", b""))
        self._ended = message["type"] != "http.request" or not message.get("more_body", False)
        if self._taken > self._maximum:
            self._ended = False
            raise HTTPException(413, f"body: must have at most {self._maximum} bytes, got more")
        return message

    def closing(self, send: Send) -> Send:
        """`send`, which ends the connection with a refusal of a body that was not read, once its sender has the answer.

        Kept open, it would wait for ever: the sender for room to send more, the server for nobody to read it. Ended
        while its sender writes, it is reset, and the answer may be lost with it (RFC 9112, 9.6).
        """
        refused = False

        async def send_and_close(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] >= 400 and not self._ended:
                refused = True
                MutableHeaders(scope=message)["Connection"] = "close"
            if refused and message["type"] == "http.response.body" and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await self._read_away()
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        return send_and_close

    async def _read_away(self) -> None:
        more, taken = True, 0
        with anyio.move_on_after(LINGER):
            while more and taken <= LINGER_BYTES:
                message = await self._receive()
                more = message["type"] == "http.request" and message.get("more_body", False)
                taken += len(message.get("body", b""))


class Refused(Exception):
    """An answer that ends the request here."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        """Answer with `status`; its code follows from it."""
        super().__init__(detail)
        self.answer: Response = problem(status, CODES[status], detail)
        self.answer.headers.update({name.replace("_", "-"): value for name, value in headers.items()})


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, laboratory: Laboratory) -> None:
        """Guard `app` with the tokens of the laboratory's store and the hosts of its settings."""
        self.app = app
        self.laboratory = laboratory
        named = laboratory.settings.allowed_hosts.lower().split(",")
        self.hosts = LOOPBACK | {name.strip() for name in named if name.strip()}
        self.rates = Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is refused; hand on the rest with a body that cannot outgrow its limit."""
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
            # Whoever asks is not known yet: how the database fails is for the log.
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
                429, f"token: may ask {rate:g} times a second, asked more often", Retry_After=str(math.ceil(wait))
            )
        # No page can send a DELETE unasked, and it has no body to be read.
        if not reading and scope["method"] != "DELETE":
            _sent(headers, BYTES if _is_dataset(scope) else JSON, self._maximum(scope))

    def _maximum(self, scope: Scope) -> int:
        return self.laboratory.settings.upload_bytes if _is_dataset(scope) else MAXIMUM_BODY

    def _seconds(self, scope: Scope) -> float:
        return self.laboratory.settings.upload_seconds if _is_dataset(scope) else LONGEST

    def _host(self, received: Iterable[str]) -> str:
        """The host asked for, in lower case; pages of other sites reach a loopback port under a name of their own."""
        host = ",".join(received).lower()
        match = HOST.fullmatch(host)
        if match is None or not {host, match["name"]} & self.hosts:
            raise Refused(421, f"host: must be a loopback name or one of TALWEG_ALLOWED_HOSTS, got {host[:80]!r}")
        return host


def _same_origin(received: list[str], host: str) -> None:
    if any(origin.lower() not in (f"http://{host}", f"https://{host}") for origin in received):
        raise Refused(403, f"origin: a page of another site changes nothing here, got {received[0][:80]!r}")


def _bearer(received: list[str]) -> str:
    if len(received) != 1:
        raise AccessDenied("one header `Authorization: Bearer TOKEN` is needed")
    scheme, _, token = received[0].partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise AccessDenied("the header must read `Authorization: Bearer TOKEN`")
    return token.strip()


def needed_scope(path: str, reading: bool) -> str:
    """The scope that a token needs at a path, to read or to change; the document says the same of each route."""
    if path == TOKENS or path.startswith(f"{TOKENS}/"):
        return "admin"
    return "read" if reading else "submit"


def _is_dataset(scope: Scope) -> bool:
    path: str = scope["path"]
    return scope["method"] == "PUT" and path.startswith(DATASETS)


def _sent(headers: Headers, expected: str, maximum: int) -> None:
    """Forms and plain text are what a foreign page can send without being asked, hence refused.

    Where nothing is sent, as with a cancel, there is nothing that a type could be said of.
    """
    length = headers.get("content-length", "0")
    media = headers.get("content-type", "")
    nothing = not media and not has_body(headers)
    if not nothing and media.partition(";")[0].strip().lower() != expected:
        raise Refused(415, f"content-type: must be {expected}, got {media[:80]!r}")
    if not length.isdecimal() or len(length) > 19 or int(length) > maximum:
        raise Refused(413, f"body: must have at most {maximum} bytes, got {length[:20]}")


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
                # Until the answer began: how long it then takes to go out is up to the client.
                milliseconds=round(((answered or time.perf_counter()) - began) * 1000, 1),
            )
