"""One laboratory over HTTP: JSON, arrays and bytes.

Errors come back as the exceptions of `talweg.errors`; whatever may be sent twice is sent again.
"""

import io
import json
import logging
import sys
import uuid
from collections.abc import Iterator
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
        self._client = httpx2.Client(
            base_url=base,
            timeout=TIMEOUT,
            headers={"User-Agent": "talweg"} | _authorization(token),
            # A proxy of the environment is not the way to this machine.
            trust_env=not local,
            transport=httpx2.HTTPTransport(uds=url.removeprefix(UNIX)) if url.startswith(UNIX) else None,
        )

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
        return self._ask("GET", path, query=query, patience=patience).json()

    def post(self, path: str, body: object = None) -> Any:
        """The JSON that a POST of `body` answers.

        It carries a fresh Idempotency-Key, so that sending it again after a lost answer changes nothing. What has
        a name goes without: the name does the same, and an equal spec under it is attached to, not refused.
        """
        headers = {"Content-Type": "application/json"}
        if not (isinstance(body, dict) and body.get("name")):
            headers["Idempotency-Key"] = str(uuid.uuid4())
        content = json.dumps({} if body is None else body, default=_plain).encode()
        return self._ask("POST", path, headers=headers, content=content).json()

    def put(self, path: str, content: bytes | Iterator[bytes], **query: Any) -> Any:
        """The JSON that a PUT of bytes answers; a stream of them cannot be sent again, so it is sent once."""
        patience = PATIENCE if isinstance(content, bytes) else 0.0
        headers = {"Content-Type": "application/octet-stream"}
        return self._ask("PUT", path, query=query, patience=patience, headers=headers, content=content).json()

    def delete(self, path: str) -> None:
        """Ask for an end; what has ended already is NotFound."""
        self._ask("DELETE", path)

    def array(self, path: str, **query: Any) -> "NDArray[np.generic]":
        """The array that a GET answers, bit for bit."""
        import numpy as np

        content = self._ask("GET", path, query=query).content
        array: NDArray[np.generic] = np.load(io.BytesIO(content), allow_pickle=False)
        return array

    def content(self, path: str, **query: Any) -> bytes:
        """The bytes that a GET answers."""
        return self._ask("GET", path, query=query).content

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, Any] | None = None,
        patience: float = PATIENCE,
        **rest: Any,
    ) -> httpx2.Response:
        params = {key: value for key, value in (query or {}).items() if value is not None}
        retries = stamina.retry_context(
            on=_again,
            attempts=None if patience else 1,
            timeout=patience or None,
            wait_initial=0.1,
            wait_max=1.0,
            wait_jitter=0.1,
        )
        for attempt in retries:
            with attempt:
                try:
                    response = self._client.request(method, path, params=params, **rest)
                except httpx2.HTTPError as error:
                    reason = str(error) or type(error).__name__
                    raise Unreachable(f"the laboratory at {self.url} does not answer: {reason}") from error
                if response.is_error:
                    raise self._error(response)
                return response
        raise AssertionError("stamina ends with an answer or an exception")

    def _error(self, response: httpx2.Response) -> TalwegError:
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
        return kind(f"{self.url} answered {response.status_code}, but not as a laboratory does; is the URL right?")


def part(id_or_name: str) -> str:
    """As one part of a path; an empty one or a dot would name another place."""
    if id_or_name in ("", ".", ".."):
        raise InvalidSpec(f"name: must be an id or a name, got {id_or_name!r}")
    return quote(id_or_name, safe="")


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
