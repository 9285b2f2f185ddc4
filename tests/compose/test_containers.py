"""Isolation of the containers: ports, users, secrets, roles, hosts."""

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

if TYPE_CHECKING:
    from tests.compose.conftest import Containers

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
OURS = {"api", "worker", "tracking", "reconciler", "mlflow"}
NAMES = [line.rstrip("=") for line in (ROOT / ".env.example").read_text().splitlines() if line.endswith("=")]


def test_only_the_api_and_mlflow_are_published_and_on_loopback(containers: "Containers") -> None:
    for service, inspected in containers.inspect().items():
        bindings = [each for ports in inspected["NetworkSettings"]["Ports"].values() for each in ports or []]
        assert bool(bindings) == (service in {"api", "mlflow"}), service
        assert {each["HostIp"] for each in bindings} <= {"127.0.0.1"}


def test_our_containers_run_without_privileges(containers: "Containers") -> None:
    inspected = containers.inspect()
    assert set(inspected) >= OURS
    for service in OURS:
        assert inspected[service]["Config"]["User"] == "talweg"
        assert inspected[service]["HostConfig"]["ReadonlyRootfs"]
        assert inspected[service]["HostConfig"]["CapDrop"] == ["ALL"]
        assert inspected[service]["HostConfig"]["SecurityOpt"] == ["no-new-privileges:true"]


def test_the_image_has_no_compiler_and_a_read_only_root(containers: "Containers") -> None:
    script = "for tool in cc gcc g++ c++ clang ld make; do command -v $tool; done; touch /made && echo written; id -u"
    assert containers.compose("exec", "-T", "worker", "sh", "-c", script).split() == ["10001"]
    assert containers.docker("image", "inspect", "--format", "{{.Config.User}}", "talweg") == "talweg"
    assert "health.py" in containers.docker("image", "inspect", "--format", "{{.Config.Healthcheck.Test}}", "talweg")


def test_no_secret_is_in_arguments_or_in_the_image(containers: "Containers") -> None:
    ids = containers.compose("ps", "--quiet").split()
    shown = "".join(
        subprocess.run(["docker", "top", each, "-o", "pid,args"], capture_output=True, text=True, check=True).stdout
        for each in ids
    )
    history = ["docker", "history", "--no-trunc", "talweg"]
    shown += subprocess.run(history, capture_output=True, text=True, check=True).stdout
    assert "talweg" in shown
    for name, value in containers.settings.items():
        assert name.endswith("_PORT") or value not in shown, name


def test_redis_needs_its_password_and_appends_to_a_file(containers: "Containers") -> None:
    ping = ["exec", "-T", "-e", "REDISCLI_AUTH=", "redis", "redis-cli", "ping"]
    assert "NOAUTH" in containers.compose(*ping)
    assert "yes" in containers.compose("exec", "-T", "redis", "redis-cli", "config", "get", "appendonly")


def test_mlflow_reads_the_laboratory_and_changes_nothing_there(containers: "Containers") -> None:
    login = "import os, psycopg; c = psycopg.connect(os.environ['TALWEG_DATABASE_URL'].replace('+psycopg', ''))"
    read = f"{login}\nprint(c.execute('SELECT count(*) >= 0 FROM steps').fetchone()[0])"  # noqa: S608 - our own text
    assert containers.compose("exec", "-T", "mlflow", "python", "-c", read).strip() == "True"
    for statement in (
        "SELECT digest FROM tokens",
        "UPDATE runs SET step = 0",
        "DELETE FROM runs",
        "CREATE TABLE x (y int)",
    ):
        refused = (
            f"{login}\ntry: c.execute('{statement}')\nexcept psycopg.errors.InsufficientPrivilege: print('refused')"
        )
        assert containers.compose("exec", "-T", "mlflow", "python", "-c", refused).strip() == "refused", statement


def test_the_owner_of_mlflows_database_cannot_open_the_laboratorys(containers: "Containers") -> None:
    password = containers.settings["MLFLOW_DATABASE_PASSWORD"]
    login = f"import psycopg; psycopg.connect('postgresql://mlflow:{password}@postgres/%s')"
    containers.compose("exec", "-T", "mlflow", "python", "-c", login % "mlflow")
    assert containers.query("SELECT has_database_privilege('mlflow', 'talweg', 'CONNECT')") == "f"


@pytest.mark.parametrize("host", ["10.evil.example", "localhost.evil.example", "mlflow.evil.example:5055"])
def test_other_host_headers_are_refused(containers: "Containers", host: str) -> None:
    search = f"{containers.mlflow_url}/api/2.0/mlflow/experiments/search?max_results=1"
    assert httpx2.get(search).status_code == 200
    assert httpx2.get(search, headers={"Host": host}).status_code == 403
    token = {"Authorization": f"Bearer {containers.settings['TALWEG_TOKEN']}"}
    assert httpx2.get(f"{containers.url}/v1/runs", headers=token).status_code == 200
    assert httpx2.get(f"{containers.url}/v1/runs", headers=token | {"Host": host}).status_code == 421


@pytest.mark.parametrize("service", ["api", "worker", "tracking", "reconciler"])
def test_services_log_in_as_roles_that_change_no_schema(containers: "Containers", service: str) -> None:
    login = "import os, psycopg; c = psycopg.connect(os.environ['TALWEG_DATABASE_URL'].replace('+psycopg', ''))"
    for statement in ("DROP TABLE steps", "ALTER TABLE runs ADD x int", "CREATE TABLE x (y int)", "DELETE FROM runs"):
        refused = (
            f"{login}\ntry: c.execute('{statement}')\nexcept psycopg.errors.InsufficientPrivilege: print('refused')"
        )
        assert containers.compose("exec", "-T", service, "python", "-c", refused).strip() == "refused", statement
    shown = containers.compose("exec", "-T", service, "env")
    assert containers.settings["POSTGRES_PASSWORD"] not in shown


def test_the_metrics_token_can_only_read(containers: "Containers") -> None:
    token = {"Authorization": f"Bearer {containers.settings['METRICS_TOKEN']}"}
    page = httpx2.get(
        f"{containers.url}/metrics", headers=token | {"Host": f"api:{containers.settings['TALWEG_PORT']}"}
    )
    assert page.status_code == 200
    assert "talweg_steps_total" in page.text
    headers = token | {"Content-Type": "application/json"}
    assert httpx2.post(f"{containers.url}/v1/runs", content="{}", headers=headers).status_code == 403


@pytest.mark.parametrize("empty", NAMES)
def test_an_empty_secret_is_refused_before_anything_starts(tmp_path: Path, empty: str) -> None:
    env_file = tmp_path / "env"
    env_file.write_text("".join(f"{name}={'' if name == empty else 'x' * 24}\n" for name in NAMES))
    config = ["docker", "compose", "--env-file", str(env_file), "--profile", "monitoring", "config", "--quiet"]
    done = subprocess.run(config, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert empty in done.stderr
