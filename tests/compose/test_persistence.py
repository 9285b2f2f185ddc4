"""Data survives `down` and `up`, more and fewer workers, and a restored dump."""

import subprocess
from typing import TYPE_CHECKING

import httpx2
import pytest

if TYPE_CHECKING:
    from tests.compose.conftest import Containers

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]

# One digest for each table, over all rows with their payloads.
DIGESTS = """
SELECT string_agg(name || ' ' || (xpath('/row/d/text()', query_to_xml(
    format('SELECT md5(coalesce(string_agg(md5(t::text), '''' ORDER BY md5(t::text)), '''')) AS d FROM %I AS t', name),
    false, true, '')))[1]::text, E'\\n' ORDER BY name)
FROM (SELECT tablename::text AS name FROM pg_tables
      WHERE schemaname = 'public' AND tablename NOT IN ('leaders')) AS tables
"""


def test_three_workers_share_a_study_and_one_may_die(containers: "Containers", undisturbed: dict[str, str]) -> None:
    try:
        containers.up("--no-build", "--no-recreate", "--scale", "worker=3")
        with containers.lab() as lab:
            study = containers.begin(lab)
            owners = containers.query("SELECT DISTINCT split_part(owner, ':', 1) FROM cohorts WHERE state = 'leased'")
            victim = owners.split()[0]
            # Docker does not restart it: another worker claims its cohort when the lease has expired.
            containers.docker("kill", victim)
            assert containers.end(study) == undisturbed
    finally:
        containers.up("--no-build", "--no-recreate", "--scale", "worker=1")


def test_down_and_up_keep_everything(containers: "Containers", undisturbed: dict[str, str]) -> None:
    with containers.lab() as lab:
        kept, revoked = (lab.tokens.create(name, scope="read") for name in ("kept", "revoked"))
        lab.tokens.revoke("revoked")
        study = containers.begin(lab)
        assert containers.end(study) == undisturbed
        before, mirrored = containers.query(DIGESTS), _mirrored(containers)
        unfinished = lab.compare(study.spec | {"name": "unfinished"})
    containers.compose("down", "--timeout", "40")
    containers.up("--no-build")
    with containers.lab() as lab:
        again = lab.study(study.name)
        # Submitted before `down`, finished after `up`.
        assert containers.end(lab.study(unfinished.name)) == undisturbed
        assert containers.end(again) == undisturbed
        assert _mirrored(containers) > mirrored
        names = [line.split()[0] for line in before.splitlines()]
        assert {"chunks", "runs", "tokens", "checkpoints"} < set(names)
    assert httpx2.get(f"{containers.url}/v1/runs", headers={"Authorization": f"Bearer {kept}"}).status_code == 200
    assert httpx2.get(f"{containers.url}/v1/runs", headers={"Authorization": f"Bearer {revoked}"}).status_code == 401


def test_a_restored_dump_is_equal(containers: "Containers", undisturbed: dict[str, str]) -> None:
    """By the steps of docs/operations.md."""
    with containers.lab() as lab:
        study = containers.begin(lab)
        assert containers.end(study) == undisturbed
    containers.compose("stop", "api", "worker", "tracking", "reconciler")
    before = containers.query(DIGESTS)
    postgres = containers.container("postgres")
    dump = _in(postgres, "pg_dump", "-U", "talweg", "--format=custom", "talweg")
    _in(postgres, "dropdb", "-U", "talweg", "--force", "talweg")
    _in(postgres, "createdb", "-U", "talweg", "talweg")
    restore = ("pg_restore", "-U", "talweg", "--no-owner", "--no-privileges", "--exit-on-error", "-d", "talweg")
    _in(postgres, *restore, stdin=dump)
    assert containers.query(DIGESTS) == before
    containers.up("--no-build")
    with containers.lab() as lab:
        assert containers.end(lab.study(study.name)) == undisturbed
        lab.submit(problem="digits-mlp", optimizer="sgd", steps=10).wait(timeout=120)


def _in(container: str, *command: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(["docker", "exec", "-i", container, *command], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def _mirrored(containers: "Containers") -> int:
    """How many runs MLflow's own database holds."""
    psql = ["psql", "-U", "talweg", "-d", "mlflow", "-At", "-c", "SELECT count(*) FROM runs"]
    return int(containers.compose("exec", "-T", "postgres", *psql))
