"""Tokens: found by digest, revoked by name."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from talweg.errors import Conflict, NotFound
from talweg.store import Store


def test_a_token_is_found_by_its_digest(store: Store) -> None:
    ends = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=5)))
    store.add_token("d" * 64, "laptop", ("read", "submit"), ends)
    token = store.find_token("d" * 64)
    assert token is not None
    assert (token.name, token.scopes, token.revoked_at) == ("laptop", ("read", "submit"), None)
    assert token.expires_at == ends
    assert token.expires_at.tzinfo is UTC
    assert abs(token.created_at - datetime.now(UTC)) < timedelta(minutes=5)
    assert store.find_token("e" * 64) is None


def test_a_digest_is_stored_once(store: Store) -> None:
    store.add_token("d" * 64, "one", ["admin"])
    with pytest.raises(Conflict, match="token other: the same token is stored already"):
        store.add_token("d" * 64, "other", ["admin"])
    assert [token.name for token in store.tokens()] == ["one"]


def test_a_revoked_token_has_its_time_of_revocation(store: Store) -> None:
    store.add_token("d" * 64, "lost", ["admin"])
    store.revoke_token("lost")
    token = store.find_token("d" * 64)
    assert token is not None
    assert token.revoked_at is not None
    with pytest.raises(NotFound, match="token lost"):
        store.revoke_token("lost")
