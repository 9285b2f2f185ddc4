"""The exceptions of the laboratory, one tree; the numbers are HTTP statuses.

TalwegError                 500
├── InvalidSpec             422
├── NotFound                404
│   └── NoSuchStep          404
├── Conflict                409
├── LimitReached            429
├── TooLarge                413
├── AccessDenied            401, 403
├── RunFailed
├── CorruptRecord           500
├── ReplayDiverged          500
├── LeaseLost
├── Unreachable             503
│   └── DiskFull            507
└── LocalStackError
    ├── PortTaken
    ├── NewerLaboratory
    ├── NotWritable         503
    ├── ChildFailed
    └── MissingExtra
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar


class TalwegError(Exception):
    """Base class. `code` is the kind over HTTP, `status` the HTTP status, `exit_code` the exit status in a shell.

    `answered` is the status of the HTTP answer that carried the error, if one did.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    answered: int | None = None

    def __init_subclass__(cls, *, code: str = "", status: int | None = None, exit_code: int | None = None) -> None:
        """Register the subclass under `code`, so that a client can rebuild what a server raised.

        What is left out is inherited.
        """
        super().__init_subclass__()
        if code:
            cls.code = code
            _BY_CODE[code] = cls
        if status is not None:
            cls.status = status
        if exit_code is not None:
            cls.exit_code = exit_code


_BY_CODE: dict[str, type[TalwegError]] = {}


def from_code(code: str, message: str) -> TalwegError:
    """An exception of the class registered under `code`; a TalwegError for an unknown code."""
    return _BY_CODE.get(code, TalwegError)(message)


class InvalidSpec(TalwegError, code="invalid-spec", status=422, exit_code=2):
    """The input breaks a rule; the message names the thing, the rule and the value."""


class NotFound(TalwegError, code="not-found", status=404):
    """Nothing has that name or id."""


class NoSuchStep(NotFound, code="no-such-step"):
    """The run has not recorded that step (yet)."""


class Conflict(TalwegError, code="conflict", status=409):
    """The name or the idempotency key is already in use for something else."""


class AccessDenied(TalwegError, code="access-denied", status=401):
    """The token is missing, unknown or revoked, or its scope is too small."""


class LimitReached(TalwegError, code="limit-reached", status=429):
    """A quota or the rate of the token is used up; the message names the limit and the request.

    `retry_after` is the number of seconds until a retry can succeed; None where waiting does not help.
    """

    retry_after: float | None = None


class TooLarge(TalwegError, code="too-large", status=413, exit_code=2):
    """The request body, or its unpacked content, needs more bytes, memory or time than is allowed."""


class RunFailed(TalwegError, code="run-failed"):
    """The run or study failed; the message holds the worker's reason."""


class CorruptRecord(TalwegError, code="corrupt-record"):
    """A stored chunk or checkpoint does not match its digest; the message names run, quantity and steps."""


class ReplayDiverged(TalwegError, code="replay-diverged"):
    """The cost of a recomputed step differs from the recorded one; carries both numerics fingerprints.

    The message holds the fingerprints too: HTTP carries only the message.
    """

    def __init__(
        self, message: str, recorded: dict[str, Any] | None = None, recomputed: dict[str, Any] | None = None
    ) -> None:
        """The fingerprints of the recording and of the recomputation."""
        super().__init__(message)
        self.recorded, self.recomputed = recorded, recomputed


class LeaseLost(TalwegError, code="lease-lost"):
    """The cohort has a newer fence: another worker holds it, and this one must write nothing more."""


class Unreachable(TalwegError, code="unreachable", status=503):
    """A service (API, broker, database, MLflow) does not answer."""


class DiskFull(Unreachable, code="disk-full", status=507):
    """The disk has no room for a write; the message says how much is free, and how much is needed where that is known.

    Reads still work. Waiting work continues by itself once there is room.
    """

    @staticmethod
    def caused(error: OSError) -> bool:
        """Whether the system reported a full disk or an exhausted disk quota."""
        return error.errno in (errno.ENOSPC, errno.EDQUOT)


class LocalStackError(TalwegError, code="local-stack"):
    """The local stack cannot start, run or stop as asked."""


class PortTaken(LocalStackError, code="port-taken", exit_code=2):
    """The requested port is in use."""


class NewerLaboratory(LocalStackError, code="newer-laboratory", exit_code=2):
    """A newer version of Talweg wrote the folder or the database."""


class NotWritable(LocalStackError, code="not-writable", status=503, exit_code=2):
    """The laboratory's folder, or its database by the role of this process, cannot be written."""


class ChildFailed(LocalStackError, code="child-failed"):
    """A process of the stack ended unexpectedly; the message holds its last log lines."""


class MissingExtra(LocalStackError, code="missing-extra", exit_code=2):
    """A package of `pip install talweg[lab]` is missing."""

    @classmethod
    @contextmanager
    def unless_installed(cls, package: str, *, needed_by: str, otherwise: str = "") -> Iterator[None]:
        """Raise MissingExtra where the imports in the block fail."""
        try:
            yield
        except ImportError as error:
            raise cls(f"{needed_by} needs {package}: pip install 'talweg[lab]'{otherwise}") from error
