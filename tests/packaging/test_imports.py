"""Imports are light: the engine loads nothing of the laboratory, the client nothing of the engine."""

import json
import subprocess
import sys

import pytest

HEAVY = {"celery", "kombu", "sqlalchemy", "alembic", "mlflow", "fastapi", "matplotlib", "pandas", "redis"}


def _loaded(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after the statement."""
    script = f"{statement}\nimport sys, json\nprint(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_engine_loads_nothing_of_the_laboratory() -> None:
    loaded = _loaded("import talweg_core")
    assert {"talweg_core", "numpy", "numba"} <= loaded
    assert not loaded & (HEAVY | {"talweg", "pydantic", "httpx2", "typer"})


@pytest.mark.parametrize("statement", ["import talweg", "from talweg import Lab, Run, Study", "import talweg.cli"])
def test_client_and_command_line_load_no_engine_and_no_service(statement: str) -> None:
    assert not _loaded(statement) & (HEAVY | {"talweg_core", "numba"})


def test_what_opens_a_migrated_file_loads_only_what_sqlite_needs(sqlite_url: str) -> None:
    loaded = _loaded(f"import talweg.execution.tasks, talweg.store; talweg.store.open_store({sqlite_url!r}).close()")
    assert {"sqlalchemy", "talweg_core"} <= loaded
    assert not loaded & {"alembic", "psycopg", "pyarrow", "matplotlib", "pandas"}
