"""What every request must pass before any route sees it; a route cannot be added outside of it.

In order: a host that is ours, no foreign origin for a change, a token with the scope that the route needs, which asks
no more often than it may, JSON where something is sent (bytes where it is a dataset), and a body of bounded size that
comes in bounded time.
"""

import math
import re
from collections.abc import Iterable
from typing import Final

import structlog
from anyio.to_thread import run_sync
from fastapi import Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from talweg.api.answers import CODES, problem, refuse
from talweg.api.bounds import LONGEST, Body, has_body
from talweg.api.context import Laboratory
from talweg.api.public import PUBLIC
from talweg.api.rates import Rates
from talweg.api.tokens import allows, authenticate, rate_of
from talweg.errors import AccessDenied, TalwegError, Unreachable

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
