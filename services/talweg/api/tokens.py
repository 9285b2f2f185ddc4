"""Bearer tokens, stored as sha256 digests: scopes, limits, request rates.

The scopes are ordered: `read` < `submit` < `admin`; each includes those below it.

Each token has a token bucket (rate limit), which fills at its rate and holds the requests of two seconds.
"""

import contextlib
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from talweg.errors import AccessDenied, Conflict, InvalidSpec, NotFound
from talweg.settings import Settings
from talweg.spec import Name
from talweg.store import Limits, Store, TokenRow

Scope = Literal["read", "submit", "admin"]
Whole = Annotated[int, Field(ge=1, lt=2**63)]

BURST_SECONDS: Final = 2.0
# Buckets kept at once; a token whose bucket was dropped starts with a full one.
MAXIMUM_RATES: Final = 10_000
SCOPES: Final = ("read", "submit", "admin")
MINIMUM_LENGTH: Final = 20
# Prefixes of the names of tokens from the settings.
FROM_SETTINGS: Final = "settings-"
FOR_METRICS: Final = "metrics-settings-"


class Rates:
    """Buckets by key, for one event loop: `wait` never awaits, so it needs no lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` in seconds."""
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait(self, key: str, rate: float) -> float:
        """0 after taking one request from the bucket of `key`; if it has none, the seconds until it has."""
        now = self._clock()
        full = max(1.0, rate * BURST_SECONDS)
        level, since = self._buckets.pop(key, (full, now))
        level = min(full, level + (now - since) * rate)
        taken = level >= 1.0
        # Inserted as the newest, since the oldest is dropped first.
        self._buckets[key] = (level - taken, now)
        if len(self._buckets) > MAXIMUM_RATES:
            del self._buckets[next(iter(self._buckets))]
        return 0.0 if taken else (1.0 - level) / rate


def digest_of(token: str) -> str:
    """What the store keeps instead of `token`. Tokens are long and random, so a plain sha256 is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def register(store: Store, token: str, *, scope: str = "admin", prefix: str = FROM_SETTINGS) -> None:
    """Store the settings' token with this scope, and revoke earlier ones of this prefix.

    Raises:
        InvalidSpec: it is too short to be a secret, was revoked, or is stored with another scope.
    """
    if len(token) < MINIMUM_LENGTH:
        raise InvalidSpec(
            f"token: must have at least {MINIMUM_LENGTH} characters, got {len(token)}; "
            "`python -c 'import secrets; print(secrets.token_urlsafe(32))'` makes one"
        )
    digest = digest_of(token)
    row = store.find_token(digest)
    # A token that is stored needs no write: the API starts on a full disk too.
    if row is None:
        # Another API process may do the same at this moment.
        with contextlib.suppress(Conflict):
            store.add_token(digest, f"{prefix}{digest[:12]}", [scope])
        row = store.find_token(digest)
    if row is None or row.revoked_at is not None:
        raise InvalidSpec("token: was revoked; make another")
    if list(row.scopes) != [scope]:
        raise InvalidSpec(f"token: must have the scope {scope} alone, but is in use with {', '.join(row.scopes)}")
    for other in store.tokens():
        if other.name.startswith(prefix) and other.digest != digest and other.revoked_at is None:
            with contextlib.suppress(NotFound):
                store.revoke_token(other.name)


def create(
    store: Store, name: str, scope: str, expires_at: datetime | None, limits: Mapping[str, float]
) -> tuple[str, TokenRow]:
    """A new token and its row; the token itself is not stored.

    Raises:
        InvalidSpec: it would have expired already, or its name has a prefix of the settings' tokens.
        Conflict: a token of that name exists and is not revoked.
    """
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise InvalidSpec(f"expires_at: must lie in the future, got {expires_at.isoformat()}")
    for prefix in (FROM_SETTINGS, FOR_METRICS):
        if name.startswith(prefix):
            raise InvalidSpec(f"name: must not begin with {prefix!r}, got {name!r}")
    # 256 random bits; people and secret scanners recognise the prefix.
    token = f"talweg_{secrets.token_urlsafe(32)}"
    store.add_token(digest_of(token), name, [scope], expires_at, limits or None)
    row = store.find_token(digest_of(token))
    assert row is not None
    return token, row


def limits_of(row: TokenRow, settings: Settings) -> Limits | None:
    """What the token may hold at once; None if it has no limits."""
    if allows(row, "admin"):
        return None
    own = row.limits or {}
    return Limits(
        runs=int(own.get("runs", settings.token_runs)),
        steps=int(own.get("steps", settings.token_steps)),
        bytes=int(own.get("bytes", settings.token_bytes)),
    )


def rate_of(row: TokenRow, settings: Settings) -> float | None:
    """How many requests a second it may send; None if it has no limit."""
    return None if allows(row, "admin") else float((row.limits or {}).get("rate", settings.token_rate))


def authenticate(store: Store, token: str) -> TokenRow:
    """The row of `token`; AccessDenied if it is unknown, revoked or expired, with one message for all three."""
    digest = digest_of(token)
    row = store.find_token(digest)
    # The time of an index search on digests reveals nothing about tokens; the comparison takes constant time.
    known = row is not None and hmac.compare_digest(row.digest, digest)
    if row is None or not known or row.revoked_at is not None or _expired(row):
        raise AccessDenied("the token is not known here, was revoked or has expired")
    return row


def allows(row: TokenRow, scope: str) -> bool:
    """Whether the token has `scope` or one above it."""
    return any(held in SCOPES and SCOPES.index(held) >= SCOPES.index(scope) for held in row.scopes)


def _expired(row: TokenRow) -> bool:
    return row.expires_at is not None and row.expires_at <= datetime.now(UTC)


class TokenLimits(BaseModel):
    """What a token may hold at once, and its requests a second; the settings are the defaults."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    runs: Whole | None = None
    steps: Whole | None = None
    bytes: Whole | None = None
    rate: Annotated[float, Field(gt=0, le=1e6)] | None = None


class TokenSpec(BaseModel):
    """A request for a token."""

    model_config = ConfigDict(extra="forbid")
    name: Name
    scope: Scope = "read"
    # None: it does not expire.
    expires_at: AwareDatetime | None = None
    limits: TokenLimits = TokenLimits()


class TokenView(BaseModel):
    """What is known of a token, without the token and its digest."""

    name: str
    scopes: list[str]
    limits: dict[str, Any]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewToken(TokenView):
    """A new token; `token` is shown this once."""

    token: str
