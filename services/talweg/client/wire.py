"""HTTP to one laboratory: JSON, arrays and bytes, retries, errors.

Errors become the exceptions of `talweg.errors`; requests that may be sent twice are retried. A `Wire` sends a `Request`
and blocks; `talweg.client.aio` sends the same requests without blocking.

The pickle of a wire holds the folder of a local stack, with its token in a file there, or else a URL; then the reader
takes the token from its own settings. A pickle never holds a token, since pickles are written to caches on disk.
"""

import io
import json
import logging
import os
import ssl
import sys
import threading
import uuid
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar
from urllib.parse import quote, urlsplit

import httpx2
import stamina
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from talweg.environment import LOOPBACK
from talweg.errors import (
    AccessDenied,
    DiskFull,
    InvalidSpec,
    LimitReached,
    LocalStackError,
    TalwegError,
    Unreachable,
    from_code,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONNECT: Final = 5.0
TIMEOUT: Final = httpx2.Timeout(60.0, connect=CONNECT)
# Seconds of retries while a service does not answer.
RETRY_SECONDS: Final = 8.0
AWAY: Final = frozenset({502, 503, 504})
UNIX: Final = "unix:"

log = logging.getLogger("talweg.client")

Owner = TypeVar("Owner")


@dataclass(frozen=True, eq=False)
class Request:
    """One request, with the function that reads its answer; None values of the query are omitted."""

    method: str
    path: str
    read: Callable[[httpx2.Response], Any]
    query: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | Iterator[bytes] | None = None
    retry_seconds: float = RETRY_SECONDS
    # Timeout of one answer in seconds; None for TIMEOUT.
    timeout: float | None = None

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of httpx's `request`."""
        params = {key: value for key, value in self.query.items() if value is not None}
        sent: dict[str, Any] = {} if self.content is None else {"content": self.content}
        if self.timeout is not None:
            sent["timeout"] = httpx2.Timeout(self.timeout, connect=min(self.timeout, CONNECT))
        return {"method": self.method, "url": self.path, "params": params, "headers": self.headers} | sent

    def retries(self) -> Any:
        """The attempts, for `for` or `async for`: one more after each temporary error."""
        return stamina.retry_context(
            on=retry_delay,
            attempts=None if self.retry_seconds else 1,
            timeout=self.retry_seconds or None,
            wait_initial=0.1,
            wait_max=1.0,
            wait_jitter=0.1,
        )


@dataclass(frozen=True)
class Address:
    """The address of an API: http://…, https://…, or unix:PATH for a socket; and its token."""

    url: str
    token: str | None = field(repr=False)

    def __post_init__(self) -> None:
        """Raise InvalidSpec for a malformed `url` or `token`."""
        parts = urlsplit(self.url)
        if self.socket is None and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise InvalidSpec(f"url: must begin with http://, https:// or unix:, got {self.url!r}")
        _authorization(self.token)

    @property
    def socket(self) -> str | None:
        """The path of the Unix socket; None for a URL."""
        return self.url.removeprefix(UNIX) if self.url.startswith(UNIX) else None

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of an httpx client, without the transport."""
        # Reach this machine without the proxy of the environment.
        local = self.socket is not None or urlsplit(self.url).hostname in LOOPBACK
        return {
            "base_url": self.url if self.socket is None else "http://localhost",
            "timeout": TIMEOUT,
            "headers": {"User-Agent": "talweg"} | _authorization(self.token),
            "trust_env": not local,
        }


class Wire:
    """A connection to an API, opened at the first request, and again at a request after `close`."""

    def __init__(self, url: str | None, token: str | None, *, home: Path | None = None) -> None:
        """Open no connection.

        Args:
            url: of the API; None for the local stack in `home`, which is found or started at the first request.
            token: its bearer token.
            home: the folder of a local stack.

        Raises:
            InvalidSpec: `url` or `token` is malformed.
        """
        _keep_retries_off_stdout()
        self.home = home
        self._address = None if url is None else Address(url.rstrip("/"), token)
        self._lock = threading.Lock()
        self._client: httpx2.Client | None = None
        self._process = 0
        # Clients of former addresses of a local stack: another thread may still use one.
        self._former: list[httpx2.Client] = []

    @property
    def url(self) -> str:
        """The URL of the API."""
        return self.address.url

    @property
    def address(self) -> Address:
        """The present address."""
        if self._address is None:
            self.start_stack()
        assert self._address is not None
        return self._address

    def start_stack(self) -> None:
        """Connect to the local stack in `home`, started where it does not run; raises LocalStackError."""
        from talweg.local import ensure

        here = ensure(self.home)
        self._set_address(Address(here.url, here.token))

    def update_address(self) -> None:
        """Update the address from the local stack, if it runs: port and token may have changed."""
        from talweg.local import found

        here = None if self.home is None else found(self.home)
        if here is not None:
            self._set_address(Address(here.url, here.token))

    def stack_end(self) -> Literal["stopped", "failed"] | None:
        """Whether the local stack was stopped or failed; None where it runs, or there is none."""
        if self.home is None:
            return None
        from talweg.local import ended

        return ended(self.home)

    def _set_address(self, address: Address) -> None:
        with self._lock:
            if address != self._address and self._client is not None:
                self._former.append(self._client)
                self._client = None
            self._address = address

    def _opened(self) -> httpx2.Client:
        address = self.address
        with self._lock:
            # After a fork, two processes must not share a connection: each would read the other's answers.
            if self._client is None or self._process != os.getpid():
                transport = None if address.socket is None else httpx2.HTTPTransport(uds=address.socket)
                self._client = httpx2.Client(**address.options, transport=transport)
                self._process = os.getpid()
                # Copied and unpickled runs have their own wire, and no `close`.
                weakref.finalize(self, _close, self._client, self._process)
            return self._client

    def close(self) -> None:
        """Close the connections; may be called twice. A later request opens a new one."""
        with self._lock:
            open_ = [*self._former, *([] if self._client is None else [self._client])]
            self._former, self._client = [], None
        for client in open_:
            client.close()

    def __copy__(self) -> "Wire":
        """The same address with its own connections."""
        copied = type(self)(None, None, home=self.home)
        copied._address = self._address
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> "Wire":
        """As `__copy__`."""
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the address; raises InvalidSpec where the token is only in this object."""
        if self.home is not None:
            return _unpickled, (None, self.home)
        if self.address.token != _token_of_settings():
            raise InvalidSpec(
                "Lab: its token was given as an argument, and a pickle never holds a token: set TALWEG_TOKEN or "
                "TALWEG_TOKEN_FILE instead, in this process and in the one that unpickles, and write Lab(url)"
            )
        return _unpickled, (self.address.url, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(
        self, path: str, *, retry_seconds: float = RETRY_SECONDS, timeout: float | None = None, **query: Any
    ) -> Any:
        """The JSON answer of a GET; None values of the query are omitted."""
        return self._send(Request("GET", path, _json, query=query, retry_seconds=retry_seconds, timeout=timeout))

    def post(self, path: str, body: object = None) -> Any:
        """The JSON answer of a POST of `body`.

        A new Idempotency-Key makes a retry after a lost answer safe. A body with a name has no key: the name has the
        same effect, and the API returns existing work with that name and an equal spec.
        """
        headers = {"Content-Type": "application/json"}
        if not (isinstance(body, dict) and body.get("name")):
            headers["Idempotency-Key"] = str(uuid.uuid4())
        content = json.dumps({} if body is None else body, default=_plain).encode()
        return self._send(Request("POST", path, _json, headers=headers, content=content))

    def put(self, path: str, content: bytes | Iterator[bytes], **query: Any) -> Any:
        """The JSON answer of a PUT of bytes; a stream cannot be sent again, so it is not retried."""
        retry_seconds = RETRY_SECONDS if isinstance(content, bytes) else 0.0
        headers = {"Content-Type": "application/octet-stream"}
        return self._send(Request("PUT", path, _json, query, headers, content, retry_seconds))

    def delete(self, path: str) -> None:
        """Send a DELETE; raises NotFound where it was deleted before."""
        self._send(Request("DELETE", path, _nothing))

    def array(self, path: str, **query: Any) -> "NDArray[np.generic]":
        """The array that a GET returns, bit for bit."""
        array: NDArray[np.generic] = self._send(Request("GET", path, _array, query=query))
        return array

    def content(self, path: str, **query: Any) -> bytes:
        """The bytes that a GET returns."""
        content: bytes = self._send(Request("GET", path, _bytes, query=query))
        return content

    def lines(self, path: str) -> Iterator[str]:
        """The lines that a GET returns, as they arrive; not retried."""
        with http_errors(self.url), self._opened().stream("GET", path) as response:
            if response.is_error:
                response.read()
                raise response_error(self.url, response)
            yield from response.iter_lines()

    def _send(self, request: Request) -> Any:
        for attempt in request.retries():
            with attempt:
                address = self.address
                try:
                    return self._send_once(request)
                except TalwegError as error:
                    if not self.has_new_address(request, error, address):
                        raise
                    return self._send_once(request)
        raise AssertionError("stamina ends with an answer or an exception")

    def _send_once(self, request: Request) -> Any:
        with http_errors(self.url):
            response = self._opened().request(**request.arguments())
        if response.is_error:
            raise response_error(self.url, response)
        return request.read(response)

    def has_new_address(self, request: Request, error: TalwegError, address: Address) -> bool:
        """Whether to retry at once, since the local stack has another address than `address`.

        Raises:
            LocalStackError: the local stack has ended; the message names the command that starts it.
        """
        # Another program or laboratory may answer at the former port.
        unexpected = isinstance(error, (Unreachable, AccessDenied)) or type(error) is TalwegError
        if not unexpected or self.home is None:
            return False
        self.update_address()
        if self._address != address:
            return request.content is None or isinstance(request.content, bytes)
        if ended := self.stack_end():
            raise LocalStackError(stack_end_message(self.home, ended)) from error
        return False


def stack_end_message(home: Path, how: Literal["stopped", "failed"]) -> str:
    """The message about an ended local stack, with the command that starts it."""
    what = "was stopped" if how == "stopped" else "ended: its supervisor was killed, or the machine restarted"
    return f"the local stack in {home} {what}; start it again with: talweg up --home {home}"


@contextmanager
def http_errors(url: str) -> Iterator[None]:
    """Raise httpx's errors in the block as Unreachable."""
    try:
        yield
    except httpx2.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise Unreachable(f"the laboratory at {url} does not answer: {reason}") from error


def response_error(url: str, response: httpx2.Response) -> TalwegError:
    """The exception for an error response: the one that the server raised."""
    if response.headers.get("content-type", "").startswith("application/problem+json"):
        problem = response.json()
        error = from_code(str(problem.get("code")), str(problem.get("detail")))
        later = response.headers.get("retry-after", "")
        if isinstance(error, LimitReached) and later.isdecimal():
            # Only a rate limit has this header, a quota has not.
            error.retry_after = float(later)
    else:
        kind = Unreachable if response.status_code in AWAY else TalwegError
        error = kind(f"{url} answered {response.status_code}, but not as a laboratory does; is the URL right?")
    error.answered = response.status_code
    return error


def copy_with_wire(owner: Owner, wire: Wire) -> Owner:
    """A shallow copy with another wire."""
    copied: Any = object.__new__(type(owner))
    copied.__dict__.update(vars(owner), _wire=wire)
    result: Owner = copied
    return result


def path_part(id_or_name: str) -> str:
    """An id or name as one part of a URL path; raises InvalidSpec for "", "." and "..", which change the path."""
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


def retry_delay(error: Exception) -> bool | float:
    """Whether to retry after this error, or the seconds to wait before."""
    if isinstance(error, LimitReached) and error.retry_after is not None:
        return error.retry_after
    # A full disk does not get room within a few seconds.
    return isinstance(error, Unreachable) and not isinstance(error, DiskFull) and not _refused_certificate(error)


def is_temporary(error: TalwegError) -> bool:
    """Whether a long wait may end the error: a restart, a network failure, a full disk, a failed answer."""
    # A plain server error may pass; one with its own code, such as CorruptRecord, does not.
    failed = (
        type(error) is TalwegError and error.answered is not None and error.answered >= HTTPStatus.INTERNAL_SERVER_ERROR
    )
    return isinstance(error, DiskFull) or retry_delay(error) is not False or failed


def _refused_certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _close(client: httpx2.Client, process: int) -> None:
    """Close `client`, unless this is a forked child of the process that opened it."""
    if process == os.getpid():
        client.close()


def _unpickled(url: str | None, home: Path | None) -> Wire:
    """The wire of a pickle."""
    return Wire(url, None if url is None else _token_of_settings(), home=home)


def _token_of_settings() -> str | None:
    from talweg.settings import Settings

    # Not the cached settings: the program may have set the token since.
    token = Settings().token
    return None if token is None else token.get_secret_value()


def _authorization(token: str | None) -> dict[str, str]:
    if token is None:
        return {}
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidSpec("token: must be one word of ASCII characters (it is not shown here)")
    return {"Authorization": f"Bearer {token}"}


def _plain(value: Any) -> Any:
    """Plain data for what json cannot encode: NumPy numbers and arrays, ranges, sets, specs."""
    for method in ("tolist", "model_dump"):
        if hasattr(value, method):
            return getattr(value, method)()
    if isinstance(value, (range, set, frozenset)):
        return sorted(value)
    raise InvalidSpec(f"spec: must be plain data, got {type(value).__name__}: {str(value)[:80]}")


def _keep_retries_off_stdout() -> None:
    """Log retries with `logging`: stamina prefers structlog, which prints to stdout until it is configured."""
    structlog = sys.modules.get("structlog")
    if structlog is None or not structlog.is_configured():
        set_on_retry_hooks([_log_retry])


def _log_retry(details: RetryDetails) -> None:
    log.info("retrying in %.1f s: %s", details.wait_for, details.caused_by)
