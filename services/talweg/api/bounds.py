"""A request's body, bounded in size and in time; and what becomes of a connection whose body was not read."""

import time
from typing import Final

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

# Seconds between two parts of a body, after which its sender is given up.
IDLE: Final = 30.0
# Seconds for the whole of a JSON body: who sends a byte now and then would hold a connection for days.
LONGEST: Final = 120.0
# Seconds for which, and bytes up to which, a refused body is read on and thrown away.
LINGER: Final = 2.0
LINGER_BYTES: Final = 16_000_000


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
