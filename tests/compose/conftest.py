"""The laboratory in containers, started once for all tests of this folder, under a name and ports of its own."""

import json
import secrets
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SECRETS = ("POSTGRES_PASSWORD", "MLFLOW_DATABASE_PASSWORD", "REDIS_PASSWORD", "TALWEG_TOKEN")


@dataclass(frozen=True)
class Containers:
    """A running `docker compose` project."""

    name: str
    settings: dict[str, str]
    env_file: Path

    @property
    def url(self) -> str:
        """Of the API, from this machine."""
        return f"http://127.0.0.1:{self.settings['TALWEG_PORT']}"

    @property
    def mlflow_url(self) -> str:
        """Of MLflow, from this machine."""
        return f"http://127.0.0.1:{self.settings['TALWEG_MLFLOW_PORT']}"

    def compose(self, *arguments: str, check: bool = True) -> str:
        """What `docker compose` with these arguments prints."""
        base = ["docker", "compose", "--project-name", self.name, "--env-file", str(self.env_file)]
        done = subprocess.run(
            [*base, *arguments], cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        if check and done.returncode:
            pytest.fail(f"docker compose {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-4000:]}")
        return done.stdout

    def query(self, sql: str) -> str:
        """The answer of PostgreSQL, unadorned."""
        psql = ["psql", "-U", "talweg", "-d", "talweg", "-At", "-c", sql]
        return self.compose("exec", "-T", "postgres", *psql).strip()

    def inspect(self) -> dict[str, Any]:
        """`docker inspect` of every container that runs, by service."""
        ids = self.compose("ps", "--quiet").split()
        done = subprocess.run(["docker", "inspect", *ids], capture_output=True, text=True, check=True)
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in json.loads(done.stdout)}


@pytest.fixture(scope="session")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    """The project, built, up and healthy; with its volumes removed at the end."""
    settings = {name: secrets.token_hex(24) for name in SECRETS}
    settings |= {"TALWEG_PORT": str(_free_port()), "TALWEG_MLFLOW_PORT": str(_free_port())}
    env_file = tmp_path_factory.mktemp("compose") / "env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    made = Containers(f"talweg-test-{secrets.token_hex(4)}", settings, env_file)
    try:
        started = made.compose("up", "--detach", "--build", "--wait", "--wait-timeout", "300", check=False)
        unwell = [line for line in _states(made) if not line.endswith((" healthy", " exited 0"))]
        if unwell:
            logs = made.compose("logs", "--tail", "40", *(line.split()[0] for line in unwell))
            pytest.fail(f"not up: {unwell}\n{started}\n{logs}")
        yield made
    finally:
        made.compose("down", "--volumes", "--timeout", "20")


def _states(containers: Containers) -> list[str]:
    """A line a service: its name, then its health, or how it ended."""
    rows = [json.loads(line) for line in containers.compose("ps", "--all", "--format", "json").splitlines()]
    assert rows, "docker compose started nothing"
    return [f"{row['Service']} {row['Health'] or row['State'] + ' ' + str(row['ExitCode'])}" for row in rows]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
