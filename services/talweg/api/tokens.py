"""Who may do what: bearer tokens, kept as sha256 digests in the store.

The scopes are a ladder: `read` < `submit` < `admin`; each holds those below it.
"""

import contextlib
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Final

from talweg.errors import AccessDenied, Conflict, InvalidSpec, NotFound
from talweg.store import Store, TokenRow

SCOPES: Final = ("read", "submit", "admin")
MINIMUM_LENGTH: Final = 20
# The names of tokens that came from the settings begin so.
FROM_SETTINGS: Final = "settings-"


def digest_of(token: str) -> str:
    """What the store keeps in place of `token`: tokens are long and random, so a plain sha256 is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def register(store: Store, token: str) -> None:
    """Let in the token that the settings name, with every scope, and end the one that they named before.

    Raises:
        InvalidSpec: it is too short to be a secret, or was revoked.
    """
    if len(token) < MINIMUM_LENGTH:
        raise InvalidSpec(
            f"token: must have at least {MINIMUM_LENGTH} characters, got {len(token)}; "
            "`python -c 'import secrets; print(secrets.token_urlsafe(32))'` makes one"
        )
    digest = digest_of(token)
    # Another process of this laboratory may do the same at this moment.
    with contextlib.suppress(Conflict):
        store.add_token(digest, f"{FROM_SETTINGS}{digest[:12]}", ["admin"])
    row = store.find_token(digest)
    if row is None or row.revoked_at is not None:
        raise InvalidSpec("token: was revoked; make another")
    for other in store.tokens():
        if other.name.startswith(FROM_SETTINGS) and other.digest != digest and other.revoked_at is None:
            with contextlib.suppress(NotFound):
                store.revoke_token(other.name)


def authenticate(store: Store, token: str) -> TokenRow:
    """The row of `token`; AccessDenied where it is unknown, revoked or has expired (all told alike)."""
    digest = digest_of(token)
    row = store.find_token(digest)
    # The database finds by an index on digests, which tells nothing about a token; the last word is constant time.
    known = row is not None and hmac.compare_digest(row.digest, digest)
    if row is None or not known or row.revoked_at is not None or _expired(row):
        raise AccessDenied("the token is not known here, was revoked or has expired")
    return row


def allows(row: TokenRow, scope: str) -> bool:
    """Whether the token has `scope` or one above it."""
    return any(held in SCOPES and SCOPES.index(held) >= SCOPES.index(scope) for held in row.scopes)


def _expired(row: TokenRow) -> bool:
    return row.expires_at is not None and row.expires_at <= datetime.now(UTC)
