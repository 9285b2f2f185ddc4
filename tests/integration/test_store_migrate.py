"""Migration of a laboratory: records stay, and processes refuse a schema of another version."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import text

from talweg.records import verify
from talweg.spec import RunSpec
from talweg.store import Store
from talweg.store.migrate import current, downgrade, scripts, upgrade

if TYPE_CHECKING:
    from tests.integration.conftest import Stack

Eventually = Callable[[Callable[[], bool], str], None]

SPEC = RunSpec.model_validate({"problem": "wine-mlp", "optimizer": "adam", "steps": 50})
PREVIOUS, HEAD = sorted(path.name[:4] for path in (scripts() / "versions").glob("*.py"))[-2:]


def test_a_worker_claims_nothing_after_the_database_was_migrated(any_stack: "Stack", eventually: Eventually) -> None:
    worker = any_stack.start_worker()
    any_stack.wait(any_stack.submit(SPEC))
    _set_revision(any_stack.store, "9999")
    try:
        second = any_stack.submit(SPEC.model_copy(update={"seed": 1}))
        refusal = f"must be at revision {HEAD}, got 9999"
        eventually(lambda: worker.says(refusal), "the worker to refuse")
        assert any_stack.store.cohort(second.cohort_id).attempts == 0
    finally:
        _set_revision(any_stack.store, HEAD)
    any_stack.start_reconciler()
    any_stack.wait(second)


def test_an_old_laboratory_is_refused_then_migrated_and_used(
    make_stack: "Callable[[str], Stack]", own_database_url: str
) -> None:
    stack = make_stack(own_database_url)
    stack.start_worker()
    first = stack.wait(stack.submit(SPEC))
    stack.workers.pop().terminate()
    downgrade(stack.url, PREVIOUS)
    # Any free port: another laboratory may run on this machine.
    own = {"TALWEG_DATABASE_URL": stack.url, "TALWEG_BROKER_URL": stack.broker.url, "TALWEG_PORT": "0"}
    environment = os.environ | own
    for service in ("execution.worker", "execution.reconciler", "api"):
        command = [sys.executable, "-m", f"talweg.{service}"]
        done = subprocess.run(command, env=environment, cwd=stack.folder, capture_output=True, text=True, check=False)
        assert done.returncode != 0, service
        assert f"must be at revision {HEAD}, got {PREVIOUS}; `talweg migrate` brings it there" in done.stderr, service
    upgrade(stack.url)
    assert current(stack.url) == HEAD
    assert verify(stack.store, stack.store.run(first.id)).agrees
    stack.start_worker()
    stack.wait(stack.submit(SPEC.model_copy(update={"seed": 1})))


def _set_revision(store: Store, revision: str) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
