"""One laboratory over HTTP: JSON, arrays and bytes.

Errors come back as the exceptions of `talweg.errors`; whatever may be sent twice is sent again. What is asked is a
`Question`; a `Wire` asks it and waits, and `talweg.client.aio` asks the same ones without holding up anything else.
"""

import io
import json
import logging
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import httpx2
import stamina
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from talweg.errors import InvalidSpec, LimitReached, TalwegError, Unreachable, from_code

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TIMEOUT: Final = httpx2.Timeout(60.0, connect=5.0)
# Seconds for which a service that does not answer is asked again.
PATIENCE: Final = 8.0
AWAY: Final = frozenset({502, 503, 504})
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
UNIX: Final = "unix:"

log = logging.getLogger("talweg.client")


@dataclass(frozen=True, eq=False)
class Question:
    """One request, and how its answer is read; queries that are None are left out."""

    method: str
    path: str
    read: Callable[[httpx2.Response], Any]
    query: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | Iterator[bytes] | None = None
    patience: float = PATIENCE

    def request(self) -> dict[str, Any]:
        """The keywords of httpx's `request`."""
        params = {key: value for key, value in self.query.items() if value is not None}
        sent: dict[str, Any] = {} if self.content is None else {"content": self.content}
        return {"method": self.method, "url": self.path, "params": params, "headers": self.headers} | sent

    def retries(self) -> Any:
        """What to go through, with `for` or `async for`: another attempt while it makes sense to ask again."""
        return stamina.retry_context(
            on=_again,
            attempts=None if self.patience else 1,
            timeout=self.patience or None,
            wait_initial=0.1,
            wait_max=1.0,
            wait_jitter=0.1,
        )


class Wire:
    """A connection to the API at `url`: http://…, https://…, or unix:PATH of a socket."""

    def __init__(self, url: str, token: str | None) -> None:
        """Open no connection yet; raises InvalidSpec where `url` or `token` can be none."""
        _keep_retries_off_stdout()
        self.url = url.rstrip("/")
        base, local = self.url, True
        if url.startswith(UNIX):
            base = "http://localhost"
        else:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise InvalidSpec(f"url: must begin with http://, https:// or unix:, got {url!r}")
            local = parts.hostname in LOOPBACK
        # A proxy of the environment is not the way to this machine.
        self.options: dict[str, Any] = {
            "base_url": base,
            "timeout": TIMEOUT,
            "headers": {"User-Agent": "talweg"} | _authorization(token),
            "trust_env": not local,
        }
        self.socket = url.removeprefix(UNIX) if url.startswith(UNIX) else None
        transport = None if self.socket is None else httpx2.HTTPTransport(uds=self.socket)
        self._client = httpx2.Client(**self.options, transport=transport)

    def close(self) -> None:
        """Close its connections; closing twice is harmless."""
        self._client.close()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, path: str, *, patience: float = PATIENCE, **query: Any) -> Any:
        """The JSON that a GET answers; queries that are None are left out."""
        return self._ask(Question("GET", path, _json, query=query, patience=patience))

    def post(self, path: str, body: object = None) -> Any:
        """The JSON that a POST of `body` answers.

        It carries a fresh Idempotency-Key, so that sending it again after a lost answer changes nothing. What has
        a name goes without: the name does the same, and an equal spec under it is attached to, not refused.
        """
        headers = {"Content-Type": "application/json"}
        if not (isinstance(body, dict) and body.get("name")):
            headers["Idempotency-Key"] = str(uuid.uuid4())
        content = json.dumps({} if body is None else body, default=_plain).encode()
        return self._ask(Question("POST", path, _json, headers=headers, content=content))

    def put(self, path: str, content: bytes | Iterator[bytes], **query: Any) -> Any:
        """The JSON that a PUT of bytes answers; a stream of them cannot be sent again, so it is sent once."""
        patience = PATIENCE if isinstance(content, bytes) else 0.0
        headers = {"Content-Type": "application/octet-stream"}
        return self._ask(Question("PUT", path, _json, query, headers, content, patience))

    def delete(self, path: str) -> None:
        """Ask for an end; what has ended already is NotFound."""
        self._ask(Question("DELETE", path, _nothing))

    def array(self, path: str, **query: Any) -> "NDArray[np.generic]":
        """The array that a GET answers, bit for bit."""
        array: NDArray[np.generic] = self._ask(Question("GET", path, _array, query=query))
        return array

    def content(self, path: str, **query: Any) -> bytes:
        """The bytes that a GET answers."""
        content: bytes = self._ask(Question("GET", path, _bytes, query=query))
        return content

    def lines(self, path: str) -> Iterator[str]:
        """The lines that a GET answers, as they come; asked once."""
        with translated(self.url), self._client.stream("GET", path) as response:
            if response.is_error:
                response.read()
                raise error_of(self.url, response)
            yield from response.iter_lines()

    def _ask(self, question: Question) -> Any:
        for attempt in question.retries():
            with attempt:
                with translated(self.url):
                    response = self._client.request(**question.request())
                if response.is_error:
                    raise error_of(self.url, response)
                return question.read(response)
        raise AssertionError("stamina ends with an answer or an exception")


@contextmanager
def translated(url: str) -> Iterator[None]:
    """What can go wrong on the way to a laboratory, as Unreachable."""
    try:
        yield
    except httpx2.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise Unreachable(f"the laboratory at {url} does not answer: {reason}") from error


def error_of(url: str, response: httpx2.Response) -> TalwegError:
    """What the answer says went wrong, as the exception that the server raised."""
    if response.headers.get("content-type", "").startswith("application/problem+json"):
        problem = response.json()
        error = from_code(str(problem.get("code")), str(problem.get("detail")))
        later = response.headers.get("retry-after", "")
        if isinstance(error, LimitReached) and later.isdecimal():
            # A rate, which passes; a quota does not, and says no such thing.
            error.retry_after = float(later)
        return error
    kind = Unreachable if response.status_code in AWAY else TalwegError
    return kind(f"{url} answered {response.status_code}, but not as a laboratory does; is the URL right?")


def part(id_or_name: str) -> str:
    """As one part of a path; an empty one or a dot would name another place."""
    if id_or_name in ("", ".", ".."):
        raise InvalidSpec(f"name: must be an id or a name, got {id_or_name!r}")
    return quote(id_or_name, safe="")


def _json(response: httpx2.Response) -> Any:
    return response.json()


def _array(response: httpx2.Response) -> Any:
    import numpy as np

    return np.load(io.BytesIO(response.content), allow_pickle=False)


def _bytes(response: httpx2.Response) -> bytes:
    return response.content


def _nothing(_: httpx2.Response) -> None:
    return None


def _again(error: Exception) -> bool | float:
    """Whether to ask again, or after how many seconds."""
    if isinstance(error, LimitReached) and error.retry_after is not None:
        return error.retry_after
    return isinstance(error, Unreachable)


def _authorization(token: str | None) -> dict[str, str]:
    if token is None:
        return {}
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidSpec("token: must be one word of ASCII characters (it is not shown here)")
    return {"Authorization": f"Bearer {token}"}


def _plain(value: Any) -> Any:
    """What json cannot write by itself: NumPy's numbers and arrays, ranges and sets, specs."""
    for method in ("tolist", "model_dump"):
        if hasattr(value, method):
            return getattr(value, method)()
    if isinstance(value, (range, set, frozenset)):
        return sorted(value)
    raise InvalidSpec(f"spec: must be plain data, got {type(value).__name__}: {str(value)[:80]}")


def _keep_retries_off_stdout() -> None:
    """Log retries by `logging`: stamina prefers structlog, which prints to stdout until a program sets it up."""
    structlog = sys.modules.get("structlog")
    if structlog is None or not structlog.is_configured():
        set_on_retry_hooks([_log_retry])


def _log_retry(details: RetryDetails) -> None:
    log.info("asking again in %.1f s: %s", details.wait_for, details.caused_by)
