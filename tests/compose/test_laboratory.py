"""examples/quickstart.py, run on this machine against the laboratory in containers."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

if TYPE_CHECKING:
    from tests.compose.conftest import Containers

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
# Three optimizers with ten seeds each.
RUNS, STEPS = 30, 300


@pytest.fixture(scope="module")
def printed(containers: "Containers") -> str:
    """The output of the example."""
    environment = os.environ | {
        "TALWEG_URL": containers.url,
        "TALWEG_TOKEN": containers.settings["TALWEG_TOKEN"],
        "NO_COLOR": "1",
    }
    script = [sys.executable, str(ROOT / "examples" / "quickstart.py")]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_quickstart_ranks_and_explains(printed: str) -> None:
    assert all(name in printed for name in ("sgd", "momentum", "adam"))
    assert "(64, 64)" in printed
    assert "derivative is" in printed


@pytest.mark.usefixtures("printed")
def test_every_step_is_in_postgresql(containers: "Containers") -> None:
    assert containers.query("SELECT count(*), count(DISTINCT run_id) FROM steps") == f"{RUNS * STEPS}|{RUNS}"
    assert containers.query("SELECT DISTINCT state, step FROM runs") == f"finished|{STEPS}"
    assert containers.query("SELECT DISTINCT state FROM cohorts") == "finished"


@pytest.mark.usefixtures("printed")
def test_mlflow_holds_the_same_costs_step_by_step(containers: "Containers") -> None:
    mirrored = containers.within(120, lambda: _mirrored(containers), "the mirror to catch up")
    rows = containers.query("SELECT run_id, step, cost FROM steps").splitlines()
    assert len(rows) == RUNS * STEPS
    for run, step, cost in (row.split("|") for row in rows):
        assert mirrored[run][int(step)] == float(cost)


@pytest.mark.usefixtures("printed")
def test_the_first_runs_compile_no_kernel(containers: "Containers") -> None:
    """Each container starts with the image's compiled kernels, and the study needs no others."""
    lists = [
        containers.compose("exec", "-T", "worker", "sh", "-c", f"cd {folder} && find . -type f | sort").split()
        for folder in ("/opt/kernels", "/tmp/numba")  # noqa: S108 - inside the container
    ]
    assert len(lists[0]) > 400
    assert lists[0] == lists[1]


def test_an_unknown_token_is_refused(containers: "Containers") -> None:
    for headers in ({}, {"Authorization": f"Bearer {'0' * 48}"}):
        assert httpx2.get(f"{containers.url}/v1/runs", headers=headers).status_code == 401


def _mirrored(containers: "Containers") -> dict[str, dict[int, float]] | None:
    """MLflow's costs by the laboratory's run id and step; None until every run is complete."""
    experiments = _mlflow(containers, "experiments/search", max_results=100)["experiments"]
    ids = [experiment["experiment_id"] for experiment in experiments]
    runs = _mlflow(containers, "runs/search", experiment_ids=ids, max_results=100).get("runs", [])
    names = containers.query("SELECT mlflow_run_id, id FROM runs WHERE mlflow_run_id IS NOT NULL").splitlines()
    laboratory = dict(name.split("|") for name in names)
    found = {
        laboratory[run["info"]["run_id"]]: _history(containers, run["info"]["run_id"])
        for run in runs
        if run["info"]["run_id"] in laboratory
    }
    return found if len(found) == RUNS and all(len(costs) == STEPS for costs in found.values()) else None


def _history(containers: "Containers", run: str) -> dict[int, float]:
    url = f"{containers.mlflow_url}/api/2.0/mlflow/metrics/get-history"
    answer = httpx2.get(url, params={"run_id": run, "metric_key": "cost", "max_results": 10_000}).raise_for_status()
    return {int(point["step"]): float(point["value"]) for point in answer.json().get("metrics", [])}


def _mlflow(containers: "Containers", method: str, **body: Any) -> Any:
    url = f"{containers.mlflow_url}/api/2.0/mlflow/{method}"
    headers = {"Content-Type": "application/json"}
    return httpx2.post(url, content=json.dumps(body), headers=headers).raise_for_status().json()
