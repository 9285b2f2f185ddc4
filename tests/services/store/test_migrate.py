"""The schema: up, down, and equal to the code's tables, on both databases."""

import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text

from talweg.errors import NewerLaboratory, NotFound, NotWritable, TalwegError, Unreachable
from talweg.store import Store, migrate, open_store, tables
from talweg.store.migrate import check, current, downgrade, scripts, upgrade

# The newest revision.
HEAD = max(path.name[:4] for path in (scripts() / "versions").glob("*.py"))


def _tables(url: str) -> set[str]:
    engine = create_engine(url)
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def _execute(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def test_upgrade_makes_the_tables_of_the_code(empty_database_url: str) -> None:
    upgrade(empty_database_url)
    check(empty_database_url)
    assert _tables(empty_database_url) == set(tables.metadata.tables) | {"alembic_version"}


def test_downgrade_drops_every_table_and_upgrade_creates_them_again(empty_database_url: str) -> None:
    upgrade(empty_database_url)
    downgrade(empty_database_url, "base")
    assert _tables(empty_database_url) == {"alembic_version"}
    assert current(empty_database_url) is None
    upgrade(empty_database_url)
    check(empty_database_url)


def test_check_names_a_difference(own_database_url: str) -> None:
    with open_store(own_database_url) as store:
        _execute(store.engine, "DROP INDEX ix_runs_parent_run_id")
    with pytest.raises(TalwegError, match="ix_runs_parent_run_id"):
        check(own_database_url)


def test_upgrading_twice_changes_nothing(database_url: str) -> None:
    before = current(database_url)
    upgrade(database_url)
    assert current(database_url) == before == HEAD


def test_several_can_upgrade_at_once(empty_database_url: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(upgrade, [empty_database_url] * 4))
    check(empty_database_url)


def test_a_newer_laboratory_is_refused_and_left_alone(own_database_url: str) -> None:
    with open_store(own_database_url) as store:
        _execute(store.engine, "UPDATE alembic_version SET version_num = '9999'")
        _execute(store.engine, "UPDATE laboratory SET value = '7.0.0' WHERE key = 'migrated_by'")
    for create in (False, True):
        with pytest.raises(NewerLaboratory, match=rf"9999, written by Talweg 7\.0\.0; this is Talweg .* knows {HEAD}"):
            open_store(own_database_url, create=create)
    assert current(own_database_url) == "9999"


def test_a_newer_laboratory_is_refused_without_its_table_of_facts(own_database_url: str) -> None:
    with open_store(own_database_url) as store:
        _execute(store.engine, "UPDATE alembic_version SET version_num = '9999'")
        _execute(store.engine, "DROP TABLE laboratory")
    with pytest.raises(NewerLaboratory, match="unknown"):
        open_store(own_database_url)


def test_an_older_laboratory_says_how_to_migrate(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("talweg.store.migrate.head", lambda: "9998")
    with pytest.raises(TalwegError, match=f"must be at revision 9998, got {HEAD}; `talweg migrate`"):
        open_store(database_url)


def test_opening_a_missing_database_creates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    with pytest.raises(NotFound, match=r"none\.db; `talweg migrate` makes one"):
        open_store(f"sqlite:///{path}")
    assert not path.exists()


def test_opening_an_empty_database_says_that_nothing_is_there(empty_database_url: str) -> None:
    with pytest.raises(NotFound, match="there is no laboratory"):
        open_store(empty_database_url)


def test_create_makes_a_laboratory(empty_database_url: str) -> None:
    with open_store(empty_database_url, create=True) as store:
        assert set(store.facts()) == {"made_by", "migrated_by"}
        assert store.runs().items == []


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.db"
    with open_store(f"sqlite:///{path}", create=True) as store, store.engine.begin() as connection:
        connection.execute(text("INSERT INTO laboratory VALUES ('a', 'b')"))
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("mine.db", "mine.db-wal", "mine.db-shm"), 0o600)


def test_a_folder_that_is_not_there_is_not_writable(tmp_path: Path) -> None:
    with pytest.raises(NotWritable, match="none"):
        open_store(f"sqlite:///{tmp_path / 'none' / 'talweg.db'}", create=True)


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://me:secret@host/db", "sqlite://", "sqlite:///:memory:"])
def test_other_urls_are_refused_without_their_password(url: str) -> None:
    with pytest.raises(TalwegError, match="database_url: must") as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def test_a_database_that_does_not_answer_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="database") as caught:
        open_store("postgresql://me:secret@127.0.0.1:1/none")
    assert "secret" not in str(caught.value)


def test_sqlite_has_its_settings(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store, store.engine.connect() as connection:
        asked = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in asked]
    assert found == ["wal", 2, 1, 30_000]


def test_postgresql_lets_no_stopped_process_hold_up_others_for_ever(postgres_url: str) -> None:
    with open_store(postgres_url) as store, store.engine.connect() as connection:
        asked = ("lock_timeout", "idle_in_transaction_session_timeout", "statement_timeout", "TimeZone")
        found = [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in asked]
    assert found == ["30s", "30s", "2min", "UTC"]


@pytest.mark.parametrize(("query", "seconds"), [("", "5"), ("keepalives_idle=7", "7")])
def test_postgresql_is_given_up_soon_where_the_network_was_cut(postgres_url: str, query: str, seconds: str) -> None:
    joint = "&" if "?" in postgres_url else "?"
    with open_store(postgres_url + joint + query) as store, store.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        asked = driver.info.get_parameters()
    assert (asked["keepalives_idle"], asked["keepalives_count"], asked["tcp_user_timeout"]) == (seconds, "3", "20000")
    # What the server was sent for the other direction; on a Unix socket it ignores it.
    assert "tcp_keepalives_idle=5" in asked["options"]


def test_postgresql_stores_payloads_as_they_are(postgres_url: str) -> None:
    query = (
        "SELECT attrelid::regclass::text AS name, attstorage FROM pg_attribute WHERE attname = 'payload' AND attnum > 0"
    )
    with open_store(postgres_url) as store, store.engine.connect() as connection:
        found = {row.name: row.attstorage for row in connection.execute(text(query))}
    assert (found["chunks"], found["checkpoints"], found["datasets"]) == ("e", "e", "e")


def test_migrations_are_linear_and_next_to_the_packages() -> None:
    assert (scripts() / "env.py").is_file()
    numbers = [path.name[:4] for path in sorted((scripts() / "versions").glob("*.py"))]
    assert numbers[0] == "0001"
    assert len(set(numbers)) == len(numbers)
    # One head: the history is linear. Its number is the last, which identifies this version's schema.
    assert ScriptDirectory(str(scripts())).get_heads() == [numbers[-1]] == [migrate.head()]


def test_the_command_migrates_the_database_of_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "commanded.db"
    command = [sys.executable, "-m", "talweg.store.migrate"]
    done = subprocess.run(
        command, env={"TALWEG_DATABASE_URL": f"sqlite:///{path}"}, cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert current(f"sqlite:///{path}") == HEAD
    unset = subprocess.run(command, env={}, cwd=tmp_path, capture_output=True, text=True)
    assert unset.returncode == 1
    assert "TALWEG_DATABASE_URL" in unset.stderr


def test_a_failed_upgrade_leaves_nothing(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("power cut")

    monkeypatch.setattr("talweg.store.migrate._record_version", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        upgrade(empty_database_url)
    assert _tables(empty_database_url) == set()


def test_a_corrupt_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("this is no database" * 100)
    with pytest.raises(TalwegError, match="not a database"):
        open_store(f"sqlite:///{path}")
    assert sqlite3.sqlite_version_info >= (3, 35)


def test_store_is_a_context(database_url: str) -> None:
    with open_store(database_url) as store:
        assert isinstance(store, Store)
        store.ping()
