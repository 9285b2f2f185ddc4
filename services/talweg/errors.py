"""Every exception of the laboratory, as one tree.

TalwegError
├── InvalidSpec            what was asked for breaks a rule            422, exit 2
├── NotFound               no run, study, problem … of that name      404
│   └── NoSuchStep         the run has not recorded that step         404
├── Conflict               a name is taken by something else          409
├── LimitReached           a token's quota or rate is used up          429
├── TooLarge               what was sent needs more than is allowed   413
├── AccessDenied           no token, an unknown one, or too small a scope   401, 403
├── RunFailed              the run one waited for did not finish
├── CorruptRecord          a stored chunk does not match its digest   500
├── ReplayDiverged         a recomputed step is not the recorded one  500
├── LeaseLost              another worker holds the cohort now
├── Unreachable            a service does not answer                  503
│   └── DiskFull           its disk has no room for what is written   507
└── LocalStackError        the local stack cannot do what it should
    ├── PortTaken
    ├── NewerLaboratory    `.talweg/` was written by a newer version
    ├── NotWritable
    ├── ChildFailed        a process of the stack ended; carries its last log lines
    └── MissingExtra       `pip install talweg[lab]` is needed
"""

import errno
from typing import Any, ClassVar


class TalwegError(Exception):
    """Base of all; `code` names the kind over HTTP, `status` is its HTTP status, `exit_code` the shell's.

    `answered` is the status of the answer that it came with, where it came with one.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    answered: int | None = None

    def __init_subclass__(cls) -> None:
        """Register the subclass under its code, so that a client rebuilds what a server raised."""
        super().__init_subclass__()
        _BY_CODE[cls.code] = cls


_BY_CODE: dict[str, type[TalwegError]] = {}


def from_code(code: str, message: str) -> TalwegError:
    """The exception of the kind `code` names (TalwegError where nothing does), saying `message`."""
    return _BY_CODE.get(code, TalwegError)(message)


class InvalidSpec(TalwegError):
    """What was asked for breaks a rule; the message names the thing, the rule and the value."""

    code = "invalid-spec"
    status = 422
    exit_code = 2


class NotFound(TalwegError):
    """There is nothing of that name or id."""

    code = "not-found"
    status = 404


class NoSuchStep(NotFound):
    """The run has not recorded that step (yet)."""

    code = "no-such-step"


class Conflict(TalwegError):
    """The name or the idempotency key already stands for something else."""

    code = "conflict"
    status = 409


class AccessDenied(TalwegError):
    """No token, an unknown or revoked one, or one whose scope is too small."""

    code = "access-denied"
    status = 401


class LimitReached(TalwegError):
    """The token holds or asks for as much as it may; the message names the limit, and what was asked for.

    `retry_after` are the seconds after which it may ask again, where time alone helps.
    """

    code = "limit-reached"
    status = 429
    retry_after: float | None = None


class TooLarge(TalwegError):
    """What was sent, or what it unpacks to, needs more bytes, memory or time than is allowed."""

    code = "too-large"
    status = 413
    exit_code = 2


class RunFailed(TalwegError):
    """The run or study that was waited for failed; the message holds the worker's reason."""

    code = "run-failed"


class CorruptRecord(TalwegError):
    """A stored chunk or checkpoint does not match its digest; names run, quantity and steps."""

    code = "corrupt-record"


class ReplayDiverged(TalwegError):
    """A recomputed step's cost is not the recorded one; carries both numerics fingerprints.

    They are in the message as well, which is all that travels over HTTP.
    """

    code = "replay-diverged"

    def __init__(
        self, message: str, recorded: dict[str, Any] | None = None, recomputed: dict[str, Any] | None = None
    ) -> None:
        """Recorded under one fingerprint, recomputed under the other."""
        super().__init__(message)
        self.recorded, self.recomputed = recorded, recomputed


class LeaseLost(TalwegError):
    """The cohort's fence has moved on: another worker holds it, and this one must write nothing more."""

    code = "lease-lost"


class Unreachable(TalwegError):
    """A service (API, broker, database, MLflow) does not answer."""

    code = "unreachable"
    status = 503


class DiskFull(Unreachable):
    """The disk has no room for what is to be written; the message says how much is free, and where it is known, needed.

    Reading goes on, and what waits goes on by itself once there is room.
    """

    code = "disk-full"
    status = 507

    @staticmethod
    def caused(error: OSError) -> bool:
        """Whether it was a full disk, or a used up quota of it, that the system complained of."""
        return error.errno in (errno.ENOSPC, errno.EDQUOT)


class LocalStackError(TalwegError):
    """The local stack cannot do what it should."""

    code = "local-stack"


class PortTaken(LocalStackError):
    """The port asked for is in use."""

    code = "port-taken"
    exit_code = 2


class NewerLaboratory(LocalStackError):
    """The folder or database was written by a newer version of Talweg."""

    code = "newer-laboratory"
    exit_code = 2


class NotWritable(LocalStackError):
    """The laboratory's folder cannot be written."""

    code = "not-writable"
    status = 503
    exit_code = 2


class ChildFailed(LocalStackError):
    """A process of the stack ended unasked; the message holds its last log lines."""

    code = "child-failed"


class MissingExtra(LocalStackError):
    """Something needs a package that `pip install talweg[lab]` brings."""

    code = "missing-extra"
    exit_code = 2
