"""PostgreSQL with least privilege: API, workers and MLflow can do all of their work as their roles, and no more."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import ProgrammingError

from talweg.errors import NotWritable
from talweg.execution import resume_run, submit_run, train
from talweg.execution.reconciler import reconcile
from talweg.settings import Settings
from talweg.spec import RunSpec
from talweg.store import Store, open_store
from talweg.store.migrate import API_ROLE, READER_ROLE, WORKER_ROLE, ensure_roles, upgrade
from talweg.tracking.histories import history, last_values

SETTINGS = Settings().model_copy(update={"commit_seconds": 0.01})
PASSWORDS = {API_ROLE: "one % of two", WORKER_ROLE: "an'other", READER_ROLE: "third"}
FORBIDDEN = (
    "DROP TABLE steps",
    "ALTER TABLE steps ADD COLUMN more integer",
    "CREATE TABLE mine (id integer)",
    "CREATE TEMPORARY TABLE mine (id integer)",
    "CREATE INDEX mine ON steps (cost)",
    "TRUNCATE steps",
    "DELETE FROM runs",
    "DELETE FROM chunks",
    "DELETE FROM steps",
    "UPDATE laboratory SET value = 'mine'",
    "UPDATE alembic_version SET version_num = '0001'",
    "CREATE ROLE mine",
    "SET ROLE postgres",
)


@pytest.fixture(scope="module")
def owned(new_postgres_database: Callable[[], str]) -> str:
    """A migrated database with the roles; its owner's URL."""
    url = new_postgres_database()
    # Twice: the second time the roles exist.
    ensure_roles(url, PASSWORDS)
    ensure_roles(url, PASSWORDS)
    upgrade(url)
    return url


@pytest.fixture
def api(owned: str) -> Iterator[Store]:
    """The store as the API opens it."""
    with _as(owned, API_ROLE) as store:
        yield store


@pytest.fixture
def worker(owned: str) -> Iterator[Store]:
    """The store as a worker opens it."""
    with _as(owned, WORKER_ROLE) as store:
        yield store


def _as(url: str, role: str) -> Store:
    return open_store(make_url(url).set(username=role).render_as_string(hide_password=False))


def test_api_and_worker_do_their_work(api: Store, worker: Store) -> None:
    published: list[str] = []
    spec = RunSpec.model_validate({"problem": "two-layer-line", "optimizer": "adam", "steps": 300, "record": "full"})
    run = submit_run(api, spec, publish=published.append, settings=SETTINGS)
    assert reconcile(worker, published.append, settings=SETTINGS.model_copy(update={"reconcile_seconds": 1e-9}))
    # Interrupted once, then finished.
    asked = iter([False] * 100)
    assert train(worker, run.cohort_id, owner="w", settings=SETTINGS, leave=lambda: next(asked, True)) == "released"
    assert train(worker, run.cohort_id, owner="w", settings=SETTINGS) == "finished"
    assert worker.lead("reconciler", "w", 1.0)
    worker.step_down("reconciler", "w")
    worker.mark_mirrored(run.id, 300, "mlflow's", "finished")
    resume_run(api, api.run(run.id), 400, publish=published.append)
    again = api.run(run.id)
    assert train(worker, again.cohort_id, owner="w", settings=SETTINGS) == "finished"
    assert api.run(run.id).step == 400
    api.check()
    worker.check()


@pytest.mark.parametrize("statement", FORBIDDEN)
@pytest.mark.parametrize("role", [API_ROLE, WORKER_ROLE, READER_ROLE])
def test_none_changes_the_schema_nor_takes_records_away(owned: str, role: str, statement: str) -> None:
    with (
        _as(owned, role) as store,
        pytest.raises(ProgrammingError, match=r"must be owner|permission denied"),
        store.engine.begin() as connection,
    ):
        connection.execute(text(statement))


@pytest.mark.parametrize("role", [WORKER_ROLE, READER_ROLE])
def test_workers_and_mlflow_do_not_see_tokens(owned: str, role: str) -> None:
    with (
        _as(owned, role) as store,
        pytest.raises(ProgrammingError, match="permission denied"),
        store.engine.begin() as connection,
    ):
        connection.execute(text("SELECT * FROM tokens"))


def test_mlflow_reads_records_and_writes_none(owned: str, api: Store, worker: Store) -> None:
    spec = RunSpec.model_validate({"problem": "two-layer-line", "optimizer": "adam", "steps": 20})
    run = submit_run(api, spec, publish=lambda _: None, settings=SETTINGS)
    assert train(worker, run.cohort_id, owner="w", settings=SETTINGS) == "finished"
    with _as(owned, READER_ROLE) as reader:
        reader.check()
        found = history(reader, reader.run(run.id), "cost")
        assert found is not None
        assert found.values.tolist() == api.steps(run.id).cost.tolist()
        assert len(list(last_values(reader, [reader.run(run.id)]))) == 1
        with pytest.raises(NotWritable, match="connect as the owner of the tables"):
            reader.mark_mirrored(run.id, 20, "mlflow's", "finished")
        with pytest.raises(NotWritable):
            reader.request_cancel([run.id])


def test_the_roles_have_their_passwords_and_no_powers(owned: str) -> None:
    with open_store(owned) as store, store.engine.begin() as connection:
        found = connection.execute(
            text(
                "SELECT rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolpassword LIKE"
                " 'SCRAM-SHA-256%' AS hidden FROM pg_authid WHERE rolname LIKE 'talweg_%' ORDER BY rolname"
            )
        ).all()
    assert [tuple(row) for row in found] == [
        (name, True, False, False, False, False, True) for name in (API_ROLE, READER_ROLE, WORKER_ROLE)
    ]


@pytest.mark.parametrize("role", [API_ROLE, WORKER_ROLE])
def test_neither_role_writes_sources_of_rules(owned: str, role: str) -> None:
    with _as(owned, role) as store:
        assert store.rule_names() == []
        with pytest.raises(NotWritable, match="permission denied for table rules"):
            store.add_rule("mine@3f2a91", "3f2a91", "import os")
