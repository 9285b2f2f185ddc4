"""The laboratory in containers, started once for the tests of this folder, with a new name and free ports."""

import hashlib
import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest

from talweg import Lab
from talweg.client import Study
from talweg.local import stop
from talweg.settings import settings

ROOT = Path(__file__).parents[2]
SECRETS = (
    "POSTGRES_PASSWORD",
    "API_DATABASE_PASSWORD",
    "WORKER_DATABASE_PASSWORD",
    "READER_DATABASE_PASSWORD",
    "MLFLOW_DATABASE_PASSWORD",
    "REDIS_PASSWORD",
    "TALWEG_TOKEN",
    "METRICS_TOKEN",
    "GRAFANA_PASSWORD",
)

# About 10 seconds of one worker: long enough for a fault while it trains.
STEPS = 2000
STUDY = {
    "problem": "digits-mlp",
    "optimizers": ["sgd", "momentum", "adam"],
    "seeds": 2,
    "batch_size": 500,
    "steps": STEPS,
    "evaluate_every": 1000,
}
T = TypeVar("T")


@dataclass(frozen=True)
class Containers:
    """A running `docker compose` project."""

    name: str
    settings: dict[str, str]
    env_file: Path

    @property
    def url(self) -> str:
        """The URL of the API on this machine."""
        return f"http://127.0.0.1:{self.settings['TALWEG_PORT']}"

    @property
    def mlflow_url(self) -> str:
        """The URL of MLflow on this machine."""
        return f"http://127.0.0.1:{self.settings['TALWEG_MLFLOW_PORT']}"

    def compose(self, *arguments: str, check: bool = True) -> str:
        """The output of `docker compose` with these arguments."""
        base = ["docker", "compose", "--project-name", self.name, "--env-file", str(self.env_file)]
        # Variables of the environment would override the file.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TALWEG_")}
        done = subprocess.run(
            [*base, *arguments],
            cwd=ROOT,
            env=kept,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if check and done.returncode:
            pytest.fail(f"docker compose {' '.join(arguments)}: exit status {done.returncode}:\n{done.stderr[-4000:]}")
        return done.stdout

    def up(self, *arguments: str) -> None:
        """`docker compose up --detach --wait`; fails with the logs of services that are not healthy."""
        started = self.compose("up", "--detach", "--wait", "--wait-timeout", "300", *arguments, check=False)
        unhealthy = [line for line in _states(self) if not line.endswith((" healthy", " exited 0"))]
        if unhealthy:
            logs = self.compose("logs", "--tail", "40", *(line.split()[0] for line in unhealthy))
            pytest.fail(f"not up: {unhealthy}\n{started}\n{logs}")

    def query(self, sql: str, *, check: bool = True) -> str:
        """PostgreSQL's answer as plain text; without `check`, '' where PostgreSQL does not answer."""
        psql = ["psql", "-U", "talweg", "-d", "talweg", "-At", "-c", sql]
        return self.compose("exec", "-T", "postgres", *psql, check=check).strip()

    def docker(self, *arguments: str) -> str:
        """The output of `docker` with these arguments."""
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.fail(f"docker {' '.join(arguments)}: exit status {done.returncode}:\n{done.stderr[-2000:]}")
        return done.stdout.strip()

    def container(self, service: str) -> str:
        """The id of the service's only container."""
        (found,) = self.compose("ps", "--all", "--quiet", service).split()
        return found

    def logged(self, service: str, text: str) -> int:
        """How often the text is in the logs of the service's containers."""
        return self.compose("logs", "--no-log-prefix", service).count(text)

    def ready(self) -> tuple[int, dict[str, Any]]:
        """Status and body of `/readyz`; 0 and {} where the API does not answer."""
        try:
            answer = httpx2.get(f"{self.url}/readyz", timeout=15)
        except httpx2.HTTPError:
            return 0, {}
        return answer.status_code, answer.json()

    def lab(self) -> Lab:
        """A client on this machine."""
        return Lab(self.url, token=self.settings["TALWEG_TOKEN"])

    def begin(self, lab: Lab) -> Study:
        """Submit STUDY and wait for its first steps."""
        study = lab.compare(STUDY)
        self.within(120, lambda: study.refresh().view["steps_done"], "the first steps of the study")
        return study

    def end(self, study: Study) -> dict[str, str]:
        """Wait until every run has finished and is mirrored; returns the study's digests."""
        left = "SELECT count(*) FROM runs WHERE state <> 'finished' OR unmirrored"
        self.within(400, lambda: self.query(left, check=False) == "0", "the study to finish and to be mirrored")
        return digests(study)

    @staticmethod
    def within(seconds: float, find: Callable[[], T | None], what: str) -> T:
        """Call `find` until it returns a true value, and return that; fails after `seconds`."""
        deadline = time.monotonic() + seconds
        while not (found := find()):
            if time.monotonic() > deadline:
                pytest.fail(f"{what}: not within {seconds:g} s")
            time.sleep(0.5)
        return found

    def inspect(self) -> dict[str, Any]:
        """The output of `docker inspect` for every running container, by service."""
        ids = self.compose("ps", "--quiet").split()
        done = subprocess.run(["docker", "inspect", *ids], capture_output=True, text=True, check=True)
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in json.loads(done.stdout)}


@pytest.fixture(scope="session")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    """The project, built and healthy; its volumes are removed at the end."""
    settings = {name: secrets.token_hex(24) for name in SECRETS}
    settings |= {"TALWEG_PORT": str(_free_port()), "TALWEG_MLFLOW_PORT": str(_free_port())}
    env_file = tmp_path_factory.mktemp("compose") / "env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    made = Containers(f"talweg-test-{secrets.token_hex(4)}", settings, env_file)
    try:
        made.up("--build")
        yield made
    finally:
        made.compose("down", "--volumes", "--timeout", "20")


def _states(containers: Containers) -> list[str]:
    """One line for each service: its name, then its health, or its state and exit status."""
    rows = [json.loads(line) for line in containers.compose("ps", "--all", "--format", "json").splitlines()]
    assert rows, "docker compose started nothing"
    return [f"{row['Service']} {row['Health'] or row['State'] + ' ' + str(row['ExitCode'])}" for row in rows]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def digests(study: Study) -> dict[str, str]:
    """A digest of each run's record, by optimizer and seed.

    Of costs and norms of every step (norms of gradient, parameters and update, so that a difference in any step shows),
    gradients of three steps, the last parameters, and the evaluations.
    """
    found = {}
    for run in study.runs:
        spec, digest = run.spec, hashlib.sha256()
        arrays = [run.costs, run.learning_rates, *run.norms.values()]
        for step in (0, STEPS // 2, STEPS - 1):
            arrays += run.gradient(step).values()
        arrays += run.parameters(run.step).values()
        for array in arrays:
            digest.update(array.tobytes())
        digest.update(str(run.evaluations.rows).encode())
        found[f"{spec['optimizer']['name']} {spec['seed']}"] = digest.hexdigest()
    return found


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests of STUDY trained by a local stack without faults, under the containers' numerics."""
    home = tmp_path_factory.mktemp("local") / ".talweg"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"NUMERICS": "portable", "PORT": "0", "MLFLOW_PORT": "0"}.items():
            patch.setenv(f"TALWEG_{name}", value)
        settings.cache_clear()
        try:
            with Lab(home=home) as lab:
                study = lab.compare(STUDY)
                return digests(study.wait())
        finally:
            stop(home)
            settings.cache_clear()
