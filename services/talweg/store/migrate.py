"""Bring a database to this version's schema, and its PostgreSQL roles to their privileges.

`python -m talweg.store.migrate` does both.

The folder of migrations is next to the packages in a source tree and inside `talweg` in an installed wheel. Alembic is
imported only to migrate: every process checks the schema's version at its start, and does not need Alembic for that.

The owner of the tables migrates, and no other role needs its password. `talweg_api` and `talweg_worker` (also used by
the mirror and the reconciler) read and write rows, delete only where their work needs it, and cannot create, alter,
drop or truncate anything; workers cannot read tokens. `talweg_reader`, used by MLflow's server, reads all but tokens.
These roles are created where TALWEG_API_DATABASE_PASSWORD, TALWEG_WORKER_DATABASE_PASSWORD and
TALWEG_READER_DATABASE_PASSWORD are set. A database without them is not changed: a single user needs no roles.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Engine, delete, insert, inspect, text
from sqlalchemy.dialects.postgresql.base import PGDialect

from talweg.errors import NewerLaboratory, NotFound, TalwegError
from talweg.settings import settings
from talweg.store import records, tables
from talweg.store.engine import create_engine, make_file, parse, translated

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

API_ROLE: Final = "talweg_api"
WORKER_ROLE: Final = "talweg_worker"
READER_ROLE: Final = "talweg_reader"

_ROWS: Final = "SELECT, INSERT, UPDATE"
_READ: Final = "SELECT"
# Privileges on every table that is not listed below, also on tables of later migrations.
_DEFAULT: Final[Mapping[str, str]] = {API_ROLE: _ROWS, WORKER_ROLE: _ROWS, READER_ROLE: _READ}
_EXCEPT: Final[Mapping[str, Mapping[str, str]]] = {
    API_ROLE: {
        "alembic_version": _READ,
        "laboratory": _READ,
        # Resuming a run deletes the evaluations of its end.
        "evaluations": f"{_READ}, DELETE",
        # Sources of users' rules are code. A laboratory with roles is shared, and keeps none.
        "rules": _READ,
    },
    WORKER_ROLE: {
        "alembic_version": _READ,
        "laboratory": _READ,
        # The last checkpoint is replaced by the next; a reconciler that stops gives up its lead.
        "checkpoints": f"{_ROWS}, DELETE",
        "leaders": f"{_ROWS}, DELETE",
        "rules": _READ,
        "tokens": "",
    },
    READER_ROLE: {"tokens": ""},
}
# An arbitrary number, the same in every version: one migration waits for another's end.
_LOCK = 7_425_934_101
_LABORATORY = tables.laboratory


def ensure_roles(url: str, passwords: Mapping[str, str]) -> None:
    """Create the roles that have a password here, or set their password; needs a user that may create roles.

    Raises Unreachable, or TalwegError where the user may not create roles.
    """
    if parse(url).get_backend_name() != "postgresql":
        return
    with _connected(url) as connection:
        for role, password in passwords.items():
            verb = "ALTER" if _role_exists(connection, role) else "CREATE"
            driver: Any = connection.connection.driver_connection
            # A digest, so that the server logs no password; it contains no character that needs quoting.
            digest = driver.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
            connection.exec_driver_sql(f"{verb} ROLE {role} LOGIN PASSWORD '{digest}'")


def grant_roles(connection: Connection) -> None:
    """Give each existing role its privileges on the present tables, and no others."""
    if not isinstance(connection.dialect, PGDialect):
        return
    here = connection.execute(text("SELECT quote_ident(current_database()), quote_ident(current_schema())")).one()
    database, schema = str(here[0]), str(here[1])
    tables = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")).scalars()
    names = sorted(tables)
    for role, exceptions in _EXCEPT.items():
        if not _role_exists(connection, role):
            continue
        for statement in (
            # By default every role may connect and create temporary tables, and before PostgreSQL 15 other tables too.
            f"REVOKE ALL ON DATABASE {database} FROM PUBLIC",
            f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC",
            f"REVOKE ALL ON SCHEMA {schema} FROM {role}",
            f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role}",
            f"GRANT CONNECT ON DATABASE {database} TO {role}",
            f"GRANT USAGE ON SCHEMA {schema} TO {role}",
        ):
            connection.exec_driver_sql(statement)
        for name in names:
            if privileges := exceptions.get(name, _DEFAULT[role]):
                connection.exec_driver_sql(f'GRANT {privileges} ON TABLE "{name}" TO {role}')


def _role_exists(connection: Connection, role: str) -> bool:
    return bool(
        connection.execute(text("SELECT count(*) FROM pg_roles WHERE rolname = :role"), {"role": role}).scalar()
    )


def scripts() -> Path:
    """The folder of migrations."""
    packaged = Path(__file__).parents[1] / "migrations"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "migrations"


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate the database up to `revision`, after creating it where there is none; one transaction.

    Raises NewerLaboratory, NotWritable or Unreachable.
    """
    make_file(parse(url))
    _migrate(url, "upgrade", revision)


def downgrade(url: str, revision: str) -> None:
    """Migrate the database down to `revision` ("base" drops every table); one transaction."""
    _migrate(url, "downgrade", revision)


def current(url: str) -> str | None:
    """The database's revision; None where no migration has run."""
    with _connected(url) as connection:
        return _revision(connection)


def check(url: str) -> None:
    """Raises TalwegError with the differences between the database and the tables of the code."""
    from alembic import command
    from alembic.util import CommandError

    try:
        with _connected(url) as connection:
            command.check(_config(connection))
    except CommandError as error:
        raise TalwegError(f"schema: {error}") from error


@contextmanager
def _connected(url: str, *, writes: bool = False) -> Iterator[Connection]:
    """One transaction on an engine of its own."""
    engine = create_engine(url, migrates=True).execution_options(talweg_writes=writes)
    try:
        with translated(engine.url), engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def ensure_current(engine: Engine) -> None:
    """Raises NotFound where there is no laboratory, NewerLaboratory, or TalwegError where it must be migrated."""
    url = engine.url
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        # Connecting would create an empty file.
        raise NotFound(f"database: there is no laboratory at {url.database}; `talweg migrate` makes one")
    with translated(url), engine.connect() as connection:
        if _revision(connection) == head():
            return
        if _known(connection) is None:
            raise NotFound(f"database: there is no laboratory at {url.render_as_string()}; `talweg migrate` makes one")
        check_revision(connection)


def check_revision(connection: Connection) -> None:
    """One query: raises TalwegError where the database is at another revision than this version's."""
    found = _revision(connection)
    if found != head():
        raise TalwegError(f"database: must be at revision {head()}, got {found}; `talweg migrate` brings it there")


@cache
def head() -> str:
    """The last of the migrations, which are numbered."""
    return max(path.name.partition("_")[0] for path in (scripts() / "versions").glob("[0-9]*_*.py"))


def _migrate(url: str, direction: str, revision: str) -> None:
    from alembic import command

    with _connected(url, writes=True) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        before = _known(connection)
        getattr(command, direction)(_config(connection), revision)
        if direction == "upgrade" and _revision(connection) != before:
            _record_version(connection, made=before is None)
        if direction == "upgrade":
            # Each time: roles may have been added since the last migration.
            grant_roles(connection)


def _record_version(connection: Connection, *, made: bool) -> None:
    keys = ["made_by", "migrated_by"] if made else ["migrated_by"]
    connection.execute(delete(_LABORATORY).where(_LABORATORY.c.key.in_(keys)))
    connection.execute(insert(_LABORATORY), [{"key": key, "value": version("talweg")} for key in keys])


def _known(connection: Connection) -> str | None:
    """The revision; raises NewerLaboratory where this version has no such migration."""
    found = _revision(connection)
    if found is None:
        return None
    if found in {script.revision for script in _directory().walk_revisions()}:
        return found
    try:
        by = records.facts(connection).get("migrated_by", "unknown")
    except Exception:  # noqa: BLE001
        # A later schema may have any form.
        by = "unknown"
    raise NewerLaboratory(
        f"database: is at revision {found}, written by Talweg {by}; this is Talweg {version('talweg')}, "
        f"which knows {head()} as the last: install the newer one"
    )


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _directory() -> "ScriptDirectory":
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(scripts()))


def _config(connection: Connection) -> "Config":
    from alembic.config import Config

    config = Config()
    # Alembic reads a single percent sign as an interpolation.
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def main() -> int:
    """Migrate the database of the settings; returns the exit code, and writes errors to stderr."""
    chosen = settings()
    url = chosen.database_url
    given = {
        API_ROLE: chosen.api_database_password,
        WORKER_ROLE: chosen.worker_database_password,
        READER_ROLE: chosen.reader_database_password,
    }
    try:
        if url is None:
            raise TalwegError("database_url: must be set, as TALWEG_DATABASE_URL or in talweg.toml")
        passwords = {role: password.get_secret_value() for role, password in given.items() if password is not None}
        ensure_roles(url.get_secret_value(), passwords)
        upgrade(url.get_secret_value())
    except TalwegError as error:
        sys.stderr.write(f"talweg: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
