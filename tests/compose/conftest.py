"""The laboratory in containers, started once for all tests of this folder, under a name and ports of its own."""

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
    "MLFLOW_DATABASE_PASSWORD",
    "REDIS_PASSWORD",
    "TALWEG_TOKEN",
    "METRICS_TOKEN",
    "GRAFANA_PASSWORD",
)

# About 10 seconds of one worker: long enough for something to happen meanwhile.
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
        """Of the API, from this machine."""
        return f"http://127.0.0.1:{self.settings['TALWEG_PORT']}"

    @property
    def mlflow_url(self) -> str:
        """Of MLflow, from this machine."""
        return f"http://127.0.0.1:{self.settings['TALWEG_MLFLOW_PORT']}"

    def compose(self, *arguments: str, check: bool = True) -> str:
        """What `docker compose` with these arguments prints."""
        base = ["docker", "compose", "--project-name", self.name, "--env-file", str(self.env_file)]
        # The environment would come before the file.
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
            pytest.fail(f"docker compose {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-4000:]}")
        return done.stdout

    def up(self, *arguments: str) -> None:
        """`docker compose up --detach --wait`; fails with the logs of what is not well."""
        started = self.compose("up", "--detach", "--wait", "--wait-timeout", "300", *arguments, check=False)
        unwell = [line for line in _states(self) if not line.endswith((" healthy", " exited 0"))]
        if unwell:
            logs = self.compose("logs", "--tail", "40", *(line.split()[0] for line in unwell))
            pytest.fail(f"not up: {unwell}\n{started}\n{logs}")

    def query(self, sql: str, *, check: bool = True) -> str:
        """The answer of PostgreSQL, unadorned; without `check` nothing, where it is away."""
        psql = ["psql", "-U", "talweg", "-d", "talweg", "-At", "-c", sql]
        return self.compose("exec", "-T", "postgres", *psql, check=check).strip()

    def docker(self, *arguments: str) -> str:
        """What `docker` with these arguments prints."""
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.fail(f"docker {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        return done.stdout.strip()

    def container(self, service: str) -> str:
        """The id of the service's one container."""
        (found,) = self.compose("ps", "--all", "--quiet", service).split()
        return found

    def said(self, service: str, text: str) -> int:
        """How often the service's containers have logged the text."""
        return self.compose("logs", "--no-log-prefix", service).count(text)

    def ready(self) -> tuple[int, dict[str, Any]]:
        """Status and body of `/readyz`; 0 and nothing where the API does not answer."""
        try:
            answer = httpx2.get(f"{self.url}/readyz", timeout=15)
        except httpx2.HTTPError:
            return 0, {}
        return answer.status_code, answer.json()

    def lab(self) -> Lab:
        """A client on this machine."""
        return Lab(self.url, token=self.settings["TALWEG_TOKEN"])

    def begin(self, lab: Lab) -> Study:
        """STUDY, submitted and under way."""
        study = lab.compare(STUDY)
        self.within(120, lambda: study.refresh().view["steps_done"], "the study to be under way")
        return study

    def end(self, study: Study) -> dict[str, str]:
        """The study's digests once every run of it has finished, and MLflow has them all."""
        left = "SELECT count(*) FROM runs WHERE state <> 'finished' OR unmirrored"
        self.within(400, lambda: self.query(left, check=False) == "0", "the study to finish and to be mirrored")
        return digests(study)

    @staticmethod
    def within(seconds: float, look: Callable[[], T | None], what: str) -> T:
        """What `look` finds, asked for until it finds something; fails when the time is up."""
        deadline = time.monotonic() + seconds
        while not (found := look()):
            if time.monotonic() > deadline:
                pytest.fail(f"waited {seconds:g} s in vain for {what}")
            time.sleep(0.5)
        return found

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
        made.up("--build")
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


def digests(study: Study) -> dict[str, str]:
    """What every run of the study recorded, by its optimizer and seed: one digest over all of its bits.

    Costs and norms of every step (norms are those of gradient, parameters and update, so that no step's bits can
    differ unseen), gradients of three steps, the last parameters, and the evaluations.
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
def untouched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests of STUDY as a local stack trains it, to which nothing happens, under the containers' numerics."""
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
