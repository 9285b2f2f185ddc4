"""A real MLflow server, and runs written to a real store through its own API, as a worker does."""

import math
import os
import shutil
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from numpy.typing import NDArray
from uuid_utils.compat import uuid7

from talweg import mlflow_server
from talweg.execution import submit_study, train
from talweg.records import evaluations_between, normalise, norms, problem_of
from talweg.settings import Settings
from talweg.spec import RunSpec, parse_study
from talweg.store import (
    Chunk,
    Claim,
    CommitBatch,
    DerivativeRows,
    Evaluation,
    NewCohort,
    NewRun,
    NewStudy,
    Progress,
    RunRow,
    RunState,
    StepRows,
    StopReason,
    Store,
    open_store,
)
from talweg.tracking import connect
from talweg.tracking.destination import Destination

LEASE = 600.0
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OwnServer:
    """Our own MLflow server and the laboratory that it reads."""

    url: str
    folder: Path
    laboratory_url: str

    @property
    def database_url(self) -> str:
        """MLflow's own database."""
        return mlflow_server.database_of(self.folder)


@pytest.fixture(scope="session")
def own_server(tmp_path_factory: pytest.TempPathFactory, _migrated_file: Path) -> Iterator[OwnServer]:
    """An MLflow server for the whole session, which takes 10 to 20 s to start, with a laboratory that it reads.

    Runs of other laboratories are on it only by REST: their histories come from MLflow's own database.
    """
    folder = tmp_path_factory.mktemp("mlflow")
    shutil.copy(_migrated_file, folder / "talweg.db")
    url = f"sqlite:///{folder / 'talweg.db'}"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with mlflow_server.running(folder, port=port, laboratory_url=url) as address:
        yield OwnServer(address, folder, url)


@pytest.fixture(scope="session")
def mlflow_url(own_server: OwnServer) -> str:
    """The address of the session's MLflow server."""
    return own_server.url


@pytest.fixture(scope="session")
def second_mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Another, empty server: a plain one, which reads no laboratory."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with mlflow_server.running(tmp_path_factory.mktemp("second"), port=port) as url:
        yield url


@pytest.fixture
def destination(mlflow_url: str) -> Destination:
    """The mirror's client of the server."""
    return connect(mlflow_url)


@pytest.fixture
def client(mlflow_url: str, destination: Destination) -> MlflowClient:
    """MLflow's client of the server."""
    return MlflowClient(tracking_uri=mlflow_url)


History = dict[str, list[tuple[int, float]]]


class Metrics:
    """A run's metrics in MLflow, and in SQL under MLflow's names."""

    @staticmethod
    def history(client: MlflowClient, store: Store, run: RunRow) -> History:
        """Every point that MLflow has of a run, as often as it has it."""
        run_id = store.run(run.id).mlflow_run_id
        assert run_id is not None
        found = {}
        for key in client.get_run(run_id).data.metrics:
            found[key] = sorted((point.step, point.value) for point in client.get_metric_history(run_id, key))
        return found

    @staticmethod
    def recorded(store: Store, run: RunRow) -> History:
        """Every finite point that SQL has of a run, under MLflow's names; and where it diverged."""
        run, points = store.run(run.id), defaultdict(list)
        table = store.steps(run.id)
        for t in range(run.step):
            points["cost"].append((t, float(table.cost[t])))
            points["learning_rate"].append((t, float(table.learning_rate[t])))
        made = evaluations_between(store, run, 0, run.step)
        points["evaluations"] = list(enumerate(np.cumsum(made.sum(axis=1))))
        for t, step in enumerate(norms(store, run, 0, run.step)):
            for q, quantity in enumerate(["gradient_norm", "parameter_norm", "update_norm"]):
                for k, tensor in enumerate(run.tensors):
                    points[f"{quantity}.{tensor['name']}"].append((t, float(step[q, k])))
        for row in store.derivatives(run.id):
            name = ".".join([row.tensor, *row.position.split(",")]) if row.position else row.tensor
            points[f"derivative.{name}"].append((row.step, math.nan if row.derivative is None else row.derivative))
            points[f"parameter.{name}"].append((row.step, math.nan if row.parameter is None else row.parameter))
        for evaluation in store.evaluations(run.id):
            assert evaluation.cost is not None
            points[f"cost.{evaluation.split}"].append((evaluation.step, evaluation.cost))
            if evaluation.metric is not None:
                points[f"accuracy.{evaluation.split}"].append((evaluation.step, evaluation.metric))
        for sample in store.samples(run.cohort_id):
            after = int(1000 * (sample.taken_at - run.created_at).total_seconds()) // 1000
            points["system/worker_cpu_percent_of_a_core"].append((after, round(sample.processor, 1)))
            points["system/worker_memory_megabytes"].append((after, round(sample.memory / 1e6, 1)))
        if run.stop_reason == "diverged":
            points["diverged_at_step"].append((run.step - 1, float(run.step - 1)))
        finite = {key: [point for point in series if math.isfinite(point[1])] for key, series in points.items()}
        return {key: series for key, series in finite.items() if series}

    @staticmethod
    def same(found: History, expected: History) -> None:
        """Equal key by key and step by step."""
        assert found.keys() == expected.keys()
        for key, points in expected.items():
            np.testing.assert_array_equal(np.array(found[key]), np.array(points, dtype=np.float64), err_msg=key)


@pytest.fixture
def metrics() -> Metrics:
    """Reads and compares metrics."""
    return Metrics()


@dataclass
class Worker:
    """A claimed cohort, driven by the test."""

    store: Store
    claim: Claim
    draw: np.random.Generator

    def record(
        self,
        run: RunRow,
        stop: int,
        *,
        state: RunState = "running",
        stop_reason: StopReason | None = None,
        costs: Floats | None = None,
    ) -> RunRow:
        """Commit the run's next steps up to `stop`, with random numbers (or these costs); returns its new row."""
        run = self.store.run(run.id)
        steps, tensors = stop - run.step, len(run.tensors)
        costs = self.draw.lognormal(size=steps) if costs is None else costs
        parts = self.draw.lognormal(size=(steps, 3, tensors))
        whole = np.sqrt(np.square(parts).sum(axis=2))
        problem, every = problem_of(RunSpec.model_validate(run.spec)), run.spec["evaluate_every"]
        due = [
            step for step in range(run.step + 1, stop + 1) if step == run.total_steps or (every and step % every == 0)
        ]
        batch = CommitBatch(
            LEASE,
            progress={run.id: Progress(stop, float(costs[-1]), None, state, stop_reason, {"numpy": "2"})},
            steps=[StepRows(run.id, run.step, costs, self.draw.random(steps), *whole.T)],
            evaluations=[
                Evaluation(run.id, step, split, self.draw.random(), self.draw.random() if problem.metric else None)
                for step in due
                for split in problem.splits
            ],
            derivatives=self._derivatives(run, steps),
            chunks=[Chunk.of(run.id, "norms", run.step, parts.reshape(steps, -1))],
        )
        self.store.commit(self.claim, batch)
        return self.store.run(run.id)

    def finish(self, run: RunRow) -> RunRow:
        """Record all remaining steps and finish the run."""
        return self.record(run, run.total_steps, state="finished", stop_reason="finished")

    def _derivatives(self, run: RunRow, steps: int) -> Sequence[DerivativeRows]:
        layout = problem_of(RunSpec.model_validate(run.spec)).layout
        if layout.size > 32:
            return []
        coordinates = [
            (name, ",".join(map(str, index)))
            for name, shape in zip(layout.names, layout.shapes, strict=True)
            for index in np.ndindex(shape)
        ]
        values = self.draw.normal(size=(3, steps, layout.size))
        return [DerivativeRows(run.id, run.step, coordinates, *values)]


@dataclass
class Laboratory:
    """A store, with a method to submit runs."""

    store: Store

    def submit(
        self,
        optimizers: Sequence[dict[str, Any]] = ({"name": "adam"},),
        *,
        study: str | None = None,
        seeds: int = 1,
        **spec: Any,
    ) -> tuple[Worker, list[RunRow]]:
        """Submit runs of one cohort and claim it."""
        study_id = str(uuid7()) if study is not None else None
        shared = {"problem": "two-layer-line", "steps": 100, "evaluate_every": 10} | spec
        filled = [
            normalise(RunSpec.model_validate(shared | {"optimizer": optimizer, "seed": seed}))
            for optimizer in optimizers
            for seed in range(seeds)
        ]
        cohort = NewCohort(str(uuid7()), study_id)
        new = [self._run(spec, row, cohort) for row, spec in enumerate(filled)]
        protocol = shared | {
            "problem": filled[0].problem.model_dump(),
            "optimizers": [spec.optimizer.model_dump() for spec in filled[::seeds]],
            "seeds": list(range(seeds)),
            "batch_size": filled[0].batch_size,
            "precision": filled[0].precision,
            "schedule": filled[0].schedule.model_dump(),
        }
        named = NewStudy(study_id, study, protocol) if study_id is not None and study is not None else None
        self.store.submit(named, new, [cohort])
        claim = self.store.claim(cohort.id, "tests", LEASE)
        assert claim is not None
        return Worker(self.store, claim, np.random.default_rng(7)), [self.store.run(run.id) for run in new]

    @staticmethod
    def _run(spec: RunSpec, row: int, cohort: NewCohort) -> NewRun:
        layout = problem_of(spec).layout
        run_id = str(uuid7())
        return NewRun(
            id=run_id,
            name=f"run-{run_id}",
            cohort_id=cohort.id,
            row=row,
            spec=spec.model_dump(mode="json"),
            spec_digest=spec.digest,
            problem=spec.problem.name or "own",
            optimizer=spec.optimizer.name,
            seed=spec.seed,
            total_steps=spec.steps,
            precision=spec.precision,
            record="replay",
            tensors=[
                {"name": name, "shape": list(shape)} for name, shape in zip(layout.names, layout.shapes, strict=True)
            ],
            study_id=cohort.study_id,
        )


def trainer(store: Store) -> Callable[..., str]:
    """A function that submits a study through `submit_study`, trains it, and returns its id."""

    def train_it(**spec: Any) -> str:
        settings, cohorts = Settings().model_copy(update={"workers": 1}), list[str]()
        study = submit_study(store, parse_study(spec), publish=cohorts.append, settings=settings)
        for cohort in cohorts:
            assert train(store, cohort, owner="tests", settings=settings) == "finished"
        return study.id

    return train_it


@pytest.fixture
def train_study(laboratory: "Laboratory") -> Callable[..., str]:
    """Submit a study to the test's laboratory, train it, and return its id."""
    return trainer(laboratory.store)


@pytest.fixture
def train_own(own_laboratory: "Laboratory") -> Callable[..., str]:
    """Submit a study to the laboratory that the session's server reads, train it, and return its id."""
    return trainer(own_laboratory.store)


@pytest.fixture
def own_laboratory(own_server: OwnServer) -> Iterator["Laboratory"]:
    """The laboratory that the session's server reads; each test has studies of its own names in it."""
    with open_store(own_server.laboratory_url) as store:
        yield Laboratory(store)


@pytest.fixture
def start(sqlite_url: str, tmp_path: Path) -> Iterator[Callable[[str], "subprocess.Popen[bytes]"]]:
    """Start a mirror of the laboratory to a URL; its log goes to tracking.log."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(mlflow_url: str) -> "subprocess.Popen[bytes]":
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TALWEG_")}
        environment |= {
            "TALWEG_DATABASE_URL": sqlite_url,
            "TALWEG_MLFLOW_URL": mlflow_url,
            "TALWEG_MIRROR_SECONDS": "0.2",
        }
        with (tmp_path / "tracking.log").open("ab") as log:
            command = [sys.executable, "-m", "talweg.tracking"]
            processes.append(subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def laboratory(sqlite_url: str) -> Iterator[Laboratory]:
    """An empty laboratory on SQLite."""
    with open_store(sqlite_url) as store:
        yield Laboratory(store)
