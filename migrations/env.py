"""Alembic's environment: migrates over talweg.store.migrate's connection, or the database of the settings."""

from alembic import context
from sqlalchemy import Connection

from talweg.settings import settings
from talweg.store import tables
from talweg.store.engine import create_engine


def run(connection: Connection) -> None:
    """Migrate inside the connection's transaction, on SQLite too."""
    context.configure(
        connection=connection,
        target_metadata=tables.metadata,
        transactional_ddl=True,
        # SQLite can change a column only by copying its table.
        render_as_batch=connection.dialect.name == "sqlite",
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if context.is_offline_mode():
    raise SystemExit("migrations: need a database; there is no SQL script without one")
if given is not None:
    run(given)
else:
    url = settings().database_url
    if url is None:
        raise SystemExit("database_url: must be set, as TALWEG_DATABASE_URL or in talweg.toml")
    engine = create_engine(url.get_secret_value(), migrates=True).execution_options(talweg_writes=True)
    with engine.begin() as own:
        run(own)
    engine.dispose()
