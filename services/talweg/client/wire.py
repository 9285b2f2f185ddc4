"""HTTP to one laboratory: JSON, arrays and bytes, retries, errors.

Errors come back as the exceptions of `talweg.errors`; whatever may be sent twice is sent again. What is asked is a
`Request`; a `Wire` asks it and waits, and `talweg.client.aio` asks the same ones without holding up anything else.

A wire pickles as an address: the folder of a local stack, whose token lies there, or else a URL, and then the other
side takes the token from its own settings. No token is ever in a pickle, since pickles end up in caches on disk.
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
# Seconds for which a service that does not answer is asked again.
RETRY_SECONDS: Final = 8.0
AWAY: Final = frozenset({502, 503, 504})
UNIX: Final = "unix:"

log = logging.getLogger("talweg.client")

Owner = TypeVar("Owner")


@dataclass(frozen=True, eq=False)
class Request:
    """One request, and how its answer is read; queries that are None are left out."""

    method: str
    path: str
    read: Callable[[httpx2.Response], Any]
    query: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | Iterator[bytes] | None = None
    retry_seconds: float = RETRY_SECONDS
    # How long one answer may take, where that is not what it may usually take.
    timeout: float | None = None

    def arguments(self) -> dict[str, Any]:
        """The keywords of httpx's `request`."""
        params = {key: value for key, value in self.query.items() if value is not None}
        sent: dict[str, Any] = {} if self.content is None else {"content": self.content}
        if self.timeout is not None:
            sent["timeout"] = httpx2.Timeout(self.timeout, connect=min(self.timeout, CONNECT))
        return {"method": self.method, "url": self.path, "params": params, "headers": self.headers} | sent

    def retries(self) -> Any:
        """What to go through, with `for` or `async for`: another attempt while it makes sense to ask again."""
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
    """How the API at `url` is reached: http://…, https://…, or unix:PATH of a socket."""

    url: str
    token: str | None = field(repr=False)

    def __post_init__(self) -> None:
        """Raises InvalidSpec where `url` or `token` can be none."""
        parts = urlsplit(self.url)
        if self.socket is None and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise InvalidSpec(f"url: must begin with http://, https:// or unix:, got {self.url!r}")
        _authorization(self.token)

    @property
    def socket(self) -> str | None:
        """The path of the Unix socket, where it is one."""
        return self.url.removeprefix(UNIX) if self.url.startswith(UNIX) else None

    @property
    def options(self) -> dict[str, Any]:
        """The keywords of an httpx client but its transport."""
        # A proxy of the environment is not the way to this machine.
        local = self.socket is not None or urlsplit(self.url).hostname in LOOPBACK
        return {
            "base_url": self.url if self.socket is None else "http://localhost",
            "timeout": TIMEOUT,
            "headers": {"User-Agent": "talweg"} | _authorization(self.token),
            "trust_env": not local,
        }


class Wire:
    """A connection to the API at `url`, opened at the first request, and again at a question after `close`."""

    def __init__(self, url: str | None, token: str | None, *, home: Path | None = None) -> None:
        """Open no connection yet.

        Args:
            url: of the API; None for that of the local stack in `home`, which is then found, or started, when asked.
            token: its bearer token.
            home: the local stack's folder, where it is one's.

        Raises:
            InvalidSpec: `url` or `token` can be none.
        """
        _keep_retries_off_stdout()
        self.home = home
        self._address = None if url is None else Address(url.rstrip("/"), token)
        self._lock = threading.Lock()
        self._client: httpx2.Client | None = None
        self._process = 0
        # Of addresses that a local stack had before: another thread may still be asking there.
        self._former: list[httpx2.Client] = []

    @property
    def url(self) -> str:
        """Where the API is."""
        return self.address.url

    @property
    def address(self) -> Address:
        """Where it leads."""
        if self._address is None:
            self.start_stack()
        assert self._address is not None
        return self._address

    def start_stack(self) -> None:
        """Lead to the local stack in `home`, started where it does not run; raises LocalStackError."""
        from talweg.local import ensure

        here = ensure(self.home)
        self._set_address(Address(here.url, here.token))

    def find_again(self) -> None:
        """Lead to where the local stack is by now, if it runs: it may have another port, or another token."""
        from talweg.local import found

        here = None if self.home is None else found(self.home)
        if here is not None:
            self._set_address(Address(here.url, here.token))

    def stack_end(self) -> Literal["stopped", "failed"] | None:
        """How the local stack ended that this leads to: someone stopped it, or nobody did."""
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
            # Two processes must not share a connection: each would read the other's answers.
            if self._client is None or self._process != os.getpid():
                transport = None if address.socket is None else httpx2.HTTPTransport(uds=address.socket)
                self._client = httpx2.Client(**address.options, transport=transport)
                self._process = os.getpid()
                # Runs come and go, copied and unpickled, and have no `close`.
                weakref.finalize(self, _close, self._client, self._process)
            return self._client

    def close(self) -> None:
        """Close its connections; closing twice is harmless, and a later question opens another."""
        with self._lock:
            open_ = [*self._former, *([] if self._client is None else [self._client])]
            self._former, self._client = [], None
        for client in open_:
            client.close()

    def __copy__(self) -> "Wire":
        """To the same place, with connections of its own."""
        twin = type(self)(None, None, home=self.home)
        twin._address = self._address
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> "Wire":
        """As `__copy__`."""
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        """As an address; raises InvalidSpec where the token is known to this object alone."""
        if self.home is not None:
            return _unpickled, (None, self.home)
        if self.address.token != _token_of_settings():
            raise InvalidSpec(
                "Lab: its token was given as an argument, and a pickle never holds a token: set TALWEG_TOKEN or "
                "TALWEG_TOKEN_FILE instead, here and where it is unpickled, and write Lab(url)"
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
        """The JSON that a GET answers; queries that are None are left out."""
        return self._ask(Request("GET", path, _json, query=query, retry_seconds=retry_seconds, timeout=timeout))

    def post(self, path: str, body: object = None) -> Any:
        """The JSON that a POST of `body` answers.

        It carries a fresh Idempotency-Key, so that sending it again after a lost answer changes nothing. What has
        a name goes without: the name does the same, and an equal spec under it is attached to, not refused.
        """
        headers = {"Content-Type": "application/json"}
        if not (isinstance(body, dict) and body.get("name")):
            headers["Idempotency-Key"] = str(uuid.uuid4())
        content = json.dumps({} if body is None else body, default=_plain).encode()
        return self._ask(Request("POST", path, _json, headers=headers, content=content))

    def put(self, path: str, content: bytes | Iterator[bytes], **query: Any) -> Any:
        """The JSON that a PUT of bytes answers; a stream of them cannot be sent again, so it is sent once."""
        retry_seconds = RETRY_SECONDS if isinstance(content, bytes) else 0.0
        headers = {"Content-Type": "application/octet-stream"}
        return self._ask(Request("PUT", path, _json, query, headers, content, retry_seconds))

    def delete(self, path: str) -> None:
        """Ask for an end; what has ended already is NotFound."""
        self._ask(Request("DELETE", path, _nothing))

    def array(self, path: str, **query: Any) -> "NDArray[np.generic]":
        """The array that a GET answers, bit for bit."""
        array: NDArray[np.generic] = self._ask(Request("GET", path, _array, query=query))
        return array

    def content(self, path: str, **query: Any) -> bytes:
        """The bytes that a GET answers."""
        content: bytes = self._ask(Request("GET", path, _bytes, query=query))
        return content

    def lines(self, path: str) -> Iterator[str]:
        """The lines that a GET answers, as they come; asked once."""
        with http_errors(self.url), self._opened().stream("GET", path) as response:
            if response.is_error:
                response.read()
                raise response_error(self.url, response)
            yield from response.iter_lines()

    def _ask(self, request: Request) -> Any:
        for attempt in request.retries():
            with attempt:
                address = self.address
                try:
                    return self._answer(request)
                except TalwegError as error:
                    if not self.has_new_address(request, error, address):
                        raise
                    return self._answer(request)
        raise AssertionError("stamina ends with an answer or an exception")

    def _answer(self, request: Request) -> Any:
        with http_errors(self.url):
            response = self._opened().request(**request.arguments())
        if response.is_error:
            raise response_error(self.url, response)
        return request.read(response)

    def has_new_address(self, request: Request, error: TalwegError, address: Address) -> bool:
        """Whether to ask again at once, since the local stack is not where it was asked but elsewhere.

        Raises:
            LocalStackError: it has ended; the message names the command that starts it.
        """
        # At its former port another may answer by now, a laboratory or not.
        strange = isinstance(error, (Unreachable, AccessDenied)) or type(error) is TalwegError
        if not strange or self.home is None:
            return False
        self.find_again()
        if self._address != address:
            return request.content is None or isinstance(request.content, bytes)
        if ended := self.stack_end():
            raise LocalStackError(stack_end_message(self.home, ended)) from error
        return False


def stack_end_message(home: Path, how: Literal["stopped", "failed"]) -> str:
    """In words, with the remedy."""
    what = "was stopped" if how == "stopped" else "ended: its supervisor was killed, or the machine started anew"
    return f"the local stack in {home} {what}; start it again with: talweg up --home {home}"


@contextmanager
def http_errors(url: str) -> Iterator[None]:
    """What can go wrong on the way to a laboratory, as Unreachable."""
    try:
        yield
    except httpx2.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise Unreachable(f"the laboratory at {url} does not answer: {reason}") from error


def response_error(url: str, response: httpx2.Response) -> TalwegError:
    """What the answer says went wrong, as the exception that the server raised."""
    if response.headers.get("content-type", "").startswith("application/problem+json"):
        problem = response.json()
        error = from_code(str(problem.get("code")), str(problem.get("detail")))
        later = response.headers.get("retry-after", "")
        if isinstance(error, LimitReached) and later.isdecimal():
            # A rate, which passes; a quota does not, and says no such thing.
            error.retry_after = float(later)
    else:
        kind = Unreachable if response.status_code in AWAY else TalwegError
        error = kind(f"{url} answered {response.status_code}, but not as a laboratory does; is the URL right?")
    error.answered = response.status_code
    return error


def copy_with_wire(asker: Owner, wire: Wire) -> Owner:
    """A shallow copy that asks over `wire`."""
    twin: Any = object.__new__(type(asker))
    twin.__dict__.update(vars(asker), _wire=wire)
    copied: Owner = twin
    return copied


def path_part(id_or_name: str) -> str:
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


def retry_delay(error: Exception) -> bool | float:
    """Whether to ask again, or after how many seconds."""
    if isinstance(error, LimitReached) and error.retry_after is not None:
        return error.retry_after
    # Of a full disk nothing is to be had by asking again for a few seconds.
    return isinstance(error, Unreachable) and not isinstance(error, DiskFull) and not _refused_certificate(error)


def is_temporary(error: TalwegError) -> bool:
    """Whether it may pass by waiting: a restart, a network that comes back, a failed answer."""
    # 500 alone: what has a code of its own, such as CorruptRecord, will be so for ever.
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
    """Its parent's connection is not a child's to close."""
    if process == os.getpid():
        client.close()


def _unpickled(url: str | None, home: Path | None) -> Wire:
    """The wire that was pickled."""
    return Wire(url, None if url is None else _token_of_settings(), home=home)


def _token_of_settings() -> str | None:
    from talweg.settings import Settings

    # Read anew: a program may have set it since it began.
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
