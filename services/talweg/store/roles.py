"""Who may do what in PostgreSQL: the API and the workers log in as roles that cannot change the schema.

The owner of the tables migrates, and nobody else needs its password. `talweg_api` and `talweg_worker` (which the mirror
and the reconciler use too) read and write rows, delete only where their work needs it, and can neither create, alter
and drop nor empty anything; workers do not see tokens. A database without these roles is left as it is: one person's
laboratory needs none.
"""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql.base import PGDialect

from talweg.store.engine import create_engine, translated

API: Final = "talweg_api"
WORKER: Final = "talweg_worker"

# Of every table, what most of them need; a table that a later migration makes has these.
_ROWS: Final = "SELECT, INSERT, UPDATE"
_READ: Final = "SELECT"
_EXCEPT: Final[Mapping[str, Mapping[str, str]]] = {
    API: {
        "alembic_version": _READ,
        "laboratory": _READ,
        # A run that goes on makes the evaluations of its end again.
        "evaluations": f"{_READ}, DELETE",
    },
    WORKER: {
        "alembic_version": _READ,
        "laboratory": _READ,
        # The last checkpoint gives way to the next; who leads the reconcilers, to another.
        "checkpoints": f"{_ROWS}, DELETE",
        "leaders": f"{_ROWS}, DELETE",
        "tokens": "",
    },
}


def ensure(url: str, passwords: Mapping[str, str]) -> None:
    """Make the roles that have a password, or give them this one; needs a user that may make roles.

    Raises Unreachable, or TalwegError where the user may not.
    """
    engine = create_engine(url, migrates=True)
    try:
        if engine.dialect.name != "postgresql":
            return
        with translated(), engine.begin() as connection:
            for role, password in passwords.items():
                verb = "ALTER" if _is_there(connection, role) else "CREATE"
                driver: Any = connection.connection.driver_connection
                # A digest, so that the password stands in no log of the server; it holds nothing that needs quotes.
                digest = driver.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
                connection.exec_driver_sql(f"{verb} ROLE {role} LOGIN PASSWORD '{digest}'")
    finally:
        engine.dispose()


def grant(connection: Connection) -> None:
    """Give each role that is there its privileges on the tables as they are now, and nothing besides."""
    if not isinstance(connection.dialect, PGDialect):
        return
    here = connection.execute(text("SELECT quote_ident(current_database()), quote_ident(current_schema())")).one()
    database, schema = str(here[0]), str(here[1])
    tables = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")).scalars()
    names = sorted(tables)
    for role, exceptions in _EXCEPT.items():
        if not _is_there(connection, role):
            continue
        for statement in (
            # By default everyone may connect and make temporary tables, and before PostgreSQL 15 others too.
            f"REVOKE ALL ON DATABASE {database} FROM PUBLIC",
            f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC",
            f"REVOKE ALL ON SCHEMA {schema} FROM {role}",
            f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role}",
            f"GRANT CONNECT ON DATABASE {database} TO {role}",
            f"GRANT USAGE ON SCHEMA {schema} TO {role}",
        ):
            connection.exec_driver_sql(statement)
        for name in names:
            if privileges := exceptions.get(name, _ROWS):
                connection.exec_driver_sql(f'GRANT {privileges} ON TABLE "{name}" TO {role}')


def _is_there(connection: Connection, role: str) -> bool:
    return bool(
        connection.execute(text("SELECT count(*) FROM pg_roles WHERE rolname = :role"), {"role": role}).scalar()
    )
