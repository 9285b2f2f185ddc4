"""Access tokens, stored as digests, their quotas; datasets uploaded with them; the sources of users' own rules."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, insert, select, update

from talweg.errors import Conflict, LimitReached, NotFound
from talweg.store import finding, tables
from talweg.store.engine import Database
from talweg.store.rows import LIVE, DatasetRow, Json, Limits, TokenRow
from talweg.store.tables import FromNow

_TOKENS = tables.tokens
_RUNS = tables.runs
_CHARGES = tables.charges
_DATASETS = tables.datasets
_RULES = tables.rules
_NAMES = tables.dataset_names
# Of the lock that is held while a dataset gets its name: any number that nothing else takes.
_NAMING = 7_302_951
_COLUMNS = [
    *(column for column in _DATASETS.c if column.name not in ("payload", "token", "name", "created_at")),
    _NAMES.c.name,
    _NAMES.c.version,
    _NAMES.c.created_at,
]


def add_token(
    connection: Connection,
    digest: str,
    name: str,
    scopes: tuple[str, ...],
    expires_at: datetime | None,
    limits: Json | None = None,
) -> None:
    """Add a token; raises Conflict where the digest is stored already, or a live token has that name."""
    if find_token(connection, digest) is not None:
        raise Conflict(f"token {name}: the same token is stored already; make a new one")
    live = select(_TOKENS.c.digest).where(_TOKENS.c.name == name, _TOKENS.c.revoked_at.is_(None))
    if connection.execute(live.limit(1)).first() is not None:
        raise Conflict(f"token {name}: the name is taken; revoke that one first, or take another name")
    connection.execute(
        insert(_TOKENS).values(
            digest=digest,
            name=name,
            scopes=list(scopes),
            created_at=FromNow(),
            expires_at=expires_at,
            limits=limits,
        )
    )


def find_token(connection: Connection, digest: str) -> TokenRow | None:
    """The token of this digest, also where it is revoked or expired."""
    row = connection.execute(select(_TOKENS).where(_TOKENS.c.digest == digest)).one_or_none()
    return None if row is None else _row(row)


def all_tokens(connection: Connection) -> list[TokenRow]:
    """Every token, by name, then by age."""
    ordered = select(_TOKENS).order_by(_TOKENS.c.name, _TOKENS.c.created_at)
    return [_row(row) for row in connection.execute(ordered)]


def revoke_token(connection: Connection, name: str) -> None:
    """Revoke every live token of that name; raises NotFound where there is none."""
    ended = connection.execute(
        update(_TOKENS).where(_TOKENS.c.name == name, _TOKENS.c.revoked_at.is_(None)).values(revoked_at=FromNow())
    )
    if ended.rowcount == 0:
        raise NotFound(f"token {name}: no live token has this name")


def _row(row: Row[tuple[object, ...]]) -> TokenRow:
    values = dict(row._mapping)
    return TokenRow(**(values | {"scopes": tuple(values["scopes"])}))


def hold_quota(connection: Connection, token: str) -> None:
    """Lock the token's row, so that its submissions are counted one after another; SQLite has one writer anyway."""
    connection.execute(select(_TOKENS.c.digest).where(_TOKENS.c.digest == token).with_for_update())


def charge_quota(connection: Connection, token: str, limits: Limits, cohort_ids: Sequence[str]) -> None:
    """Charge new cohorts to `token`; raises LimitReached, and then nothing is written."""
    if cohort_ids:
        connection.execute(insert(_CHARGES), [{"cohort_id": cohort, "token": token} for cohort in cohort_ids])
    if limits.runs is None and limits.steps is None:
        return
    query = (
        select(
            func.count().label("runs"), func.coalesce(func.sum(_RUNS.c.total_steps - _RUNS.c.step), 0).label("steps")
        )
        .select_from(_CHARGES.join(_RUNS, _RUNS.c.cohort_id == _CHARGES.c.cohort_id))
        .where(_CHARGES.c.token == token, _RUNS.c.state.in_(LIVE))
    )
    held = connection.execute(query).one()
    _refuse("runs that are queued or running", held.runs, limits.runs)
    _refuse("steps still to be made", held.steps, limits.steps)


def check_bytes(connection: Connection, token: str, limits: Limits) -> None:
    """Raises LimitReached where the token's datasets take more bytes than its quota."""
    if limits.bytes is not None:
        query = select(func.coalesce(func.sum(_DATASETS.c.size), 0)).where(_DATASETS.c.token == token)
        _refuse("bytes of datasets", connection.execute(query).scalar_one(), limits.bytes)


def _refuse(what: str, held: int, limit: int | None) -> None:
    if limit is not None and held > limit:
        raise LimitReached(f"token: may hold {limit} {what}, would hold {int(held)}")


def add_dataset(
    connection: Connection, name: str, digest: str, kind: str, shape: Json, size: int, payload: bytes, token: str | None
) -> DatasetRow:
    """Add a dataset under a name: as its next version, or as an alias where the data is stored already.

    Where the name's latest version is this data, nothing changes.
    """
    if connection.dialect.name == "postgresql":
        # Two uploads at once would both become the next version; SQLite has one writer anyway.
        connection.execute(select(func.pg_advisory_xact_lock(_NAMING)))
    latest = _newest(connection, name)
    if latest is not None and latest.digest == digest:
        return latest
    version = 1 if latest is None else latest.version + 1
    if connection.execute(select(_DATASETS.c.digest).where(_DATASETS.c.digest == digest)).first() is None:
        connection.execute(
            insert(_DATASETS).values(
                digest=digest,
                name=name if version == 1 else f"{name}@{version}",
                kind=kind,
                shape=shape,
                size=size,
                payload=payload,
                token=token,
                created_at=FromNow(),
            )
        )
    connection.execute(insert(_NAMES).values(name=name, version=version, digest=digest, created_at=FromNow()))
    return find_dataset(connection, name)


def _newest(connection: Connection, name: str, *conditions: ColumnElement[bool]) -> DatasetRow | None:
    """The latest version of a name, or the one that meets the conditions."""
    query = _joined().where(_NAMES.c.name == name, *conditions).order_by(_NAMES.c.version.desc()).limit(1)
    found = connection.execute(query).one_or_none()
    return None if found is None else DatasetRow(**found._mapping)


def _joined() -> Select[Any]:
    return select(*_COLUMNS).join_from(_NAMES, _DATASETS, _NAMES.c.digest == _DATASETS.c.digest)


def find_dataset(connection: Connection, digest_or_name: str, digest: str | None = None) -> DatasetRow:
    """By digest, by name (the latest version) or by name@version; with `digest`, a name's version of it.

    Raises NotFound.
    """
    if finding.storable(digest_or_name):
        if digest is not None:
            name = digest_or_name.partition("@")[0]
            found = _newest(connection, name, _NAMES.c.digest == digest) if finding.storable(digest) else None
        else:
            by_digest = _joined().where(_DATASETS.c.digest == digest_or_name).order_by(_NAMES.c.created_at).limit(1)
            row = connection.execute(by_digest).one_or_none()
            found = None if row is None else DatasetRow(**row._mapping)
        if found is None and digest is None:
            name, at, version = digest_or_name.partition("@")
            if not at:
                found = _newest(connection, name)
            elif version.isascii() and version.isdecimal() and len(version) < 10:
                found = _newest(connection, name, _NAMES.c.version == int(version))
        if found is not None:
            return found
    raise NotFound(f"dataset: no dataset has the digest or name {digest_or_name!r}")


def all_datasets(connection: Connection) -> list[DatasetRow]:
    """Every version of every dataset, by name."""
    ordered = _joined().order_by(_NAMES.c.name, _NAMES.c.version)
    return [DatasetRow(**row._mapping) for row in connection.execute(ordered)]


def dataset_payload(connection: Connection, digest: str) -> bytes:
    """A dataset's packed bytes; raises NotFound."""
    found = connection.execute(select(_DATASETS.c.payload).where(_DATASETS.c.digest == digest)).scalar_one_or_none()
    if found is None:
        raise NotFound(f"dataset: no dataset has the digest {digest!r}")
    return bytes(found)


def add_rule(connection: Connection, name: str, digest: str, source: str) -> None:
    """Add the source of a rule; no effect where it is stored. Raises Conflict where the name has another source."""
    found = connection.execute(select(_RULES.c.digest).where(_RULES.c.name == name)).scalar_one_or_none()
    if found not in (None, digest):
        raise Conflict(f"optimizer {name}: the name belongs to another source, {found}; change a comment in yours")
    connection.execute(
        tables.upsert(connection, _RULES)
        .values(digest=digest, name=name, source=source, created_at=FromNow())
        .on_conflict_do_nothing()
    )


def rule_source(connection: Connection, name: str) -> tuple[str, str]:
    """Digest and source of a rule; raises NotFound."""
    found = connection.execute(select(_RULES.c.digest, _RULES.c.source).where(_RULES.c.name == name)).one_or_none()
    if found is None:
        raise NotFound(f"optimizer: no source is stored for the name {name!r}")
    return str(found.digest), str(found.source)


class Access(Database):
    """Tokens, datasets and rules; each method is one transaction."""

    def add_token(
        self,
        digest: str,
        name: str,
        scopes: Iterable[str],
        expires_at: datetime | None = None,
        limits: Mapping[str, object] | None = None,
    ) -> None:
        """Add the token of this digest; raises Conflict where digest or name is taken."""
        with self._write() as connection:
            add_token(connection, digest, name, tuple(scopes), expires_at, None if limits is None else dict(limits))

    def find_token(self, digest: str) -> TokenRow | None:
        """The token of this digest, also where it is revoked or expired."""
        with self._read() as connection:
            return find_token(connection, digest)

    def tokens(self) -> list[TokenRow]:
        """Every token, by name."""
        with self._read() as connection:
            return all_tokens(connection)

    def revoke_token(self, name: str) -> None:
        """Revoke a token; raises NotFound."""
        with self._write() as connection:
            revoke_token(connection, name)

    def add_dataset(
        self, name: str, digest: str, kind: str, shape: Mapping[str, object], size: int, payload: bytes
    ) -> DatasetRow:
        """Store a dataset; the same data under the same name again changes nothing.

        Other data under the name is its next version; the same data under another name is kept once, with both names.

        Raises:
            LimitReached: The token that is charged would exceed its quota of bytes.
        """
        with self._write() as connection:
            if self._charged is not None:
                hold_quota(connection, self._charged[0])
            token = None if self._charged is None else self._charged[0]
            row = add_dataset(connection, name, digest, kind, dict(shape), size, payload, token)
            if self._charged is not None:
                check_bytes(connection, *self._charged)
            return row

    def dataset(self, digest_or_name: str, digest: str | None = None) -> DatasetRow:
        """The dataset of that digest, name or name@version, without its bytes; raises NotFound.

        With `digest`, the version of the name that has it.
        """
        with self._read() as connection:
            return find_dataset(connection, digest_or_name, digest)

    def datasets(self) -> list[DatasetRow]:
        """Every version of every dataset, by name, without its bytes."""
        with self._read() as connection:
            return all_datasets(connection)

    def dataset_payload(self, digest: str) -> bytes:
        """A dataset's bytes as they were stored; raises NotFound."""
        with self._read() as connection:
            return dataset_payload(connection, digest)

    def add_rule(self, name: str, digest: str, source: str) -> None:
        """Store the source of a user's rule; a second call changes nothing.

        Raises:
            Conflict: The name belongs to another source.
        """
        with self._write() as connection:
            add_rule(connection, name, digest, source)

    def rule_source(self, name: str) -> tuple[str, str]:
        """Digest and source of the rule of that name; raises NotFound."""
        with self._read() as connection:
            return rule_source(connection, name)

    def rule_names(self) -> list[str]:
        """The names of all stored rules."""
        with self._read() as connection:
            return list(connection.execute(select(_RULES.c.name).order_by(_RULES.c.name)).scalars())
