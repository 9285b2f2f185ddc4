"""Uploaded datasets: one row each, found by digest or name."""

from sqlalchemy import Connection, case, insert, or_, select

from talweg.errors import Conflict, NotFound
from talweg.store import tables
from talweg.store.finding import storable
from talweg.store.rows import DatasetRow, Json
from talweg.store.tables import FromNow

_DATASETS = tables.datasets
_COLUMNS = [column for column in _DATASETS.c if column.name not in ("payload", "token")]


def add(
    connection: Connection, name: str, digest: str, kind: str, shape: Json, size: int, payload: bytes, token: str | None
) -> DatasetRow:
    """A new row, or the one that is there; raises Conflict."""
    for row in connection.execute(select(*_COLUMNS).where(or_(_DATASETS.c.name == name, _DATASETS.c.digest == digest))):
        there = DatasetRow(**row._mapping)
        if (there.name, there.digest) == (name, digest):
            return there
        if there.name == name:
            raise Conflict(f"dataset {name}: the name stands for other data already, {there.digest}")
        raise Conflict(f"dataset {name}: the same data is here already, as {there.name!r}")
    connection.execute(
        insert(_DATASETS).values(
            digest=digest,
            name=name,
            kind=kind,
            shape=shape,
            size=size,
            payload=payload,
            token=token,
            created_at=FromNow(),
        )
    )
    return find(connection, digest)


def find(connection: Connection, digest_or_name: str) -> DatasetRow:
    """By digest, then name; raises NotFound."""
    if storable(digest_or_name):
        by_digest = _DATASETS.c.digest == digest_or_name
        found = connection.execute(
            select(*_COLUMNS)
            .where(or_(by_digest, _DATASETS.c.name == digest_or_name))
            .order_by(case((by_digest, 0), else_=1))
        ).first()
        if found is not None:
            return DatasetRow(**found._mapping)
    raise NotFound(f"dataset: there is none of the digest or name {digest_or_name!r}")


def all_of_them(connection: Connection) -> list[DatasetRow]:
    """By name."""
    return [DatasetRow(**row._mapping) for row in connection.execute(select(*_COLUMNS).order_by(_DATASETS.c.name))]


def payload(connection: Connection, digest: str) -> bytes:
    """The bytes; raises NotFound."""
    found = connection.execute(select(_DATASETS.c.payload).where(_DATASETS.c.digest == digest)).scalar_one_or_none()
    if found is None:
        raise NotFound(f"dataset: there is none of the digest {digest!r}")
    return bytes(found)
