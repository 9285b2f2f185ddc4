"""A real MLflow server, and runs written to a real store through its own API, as a worker does."""

import os
import socket
import subprocess
import sys
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
from talweg.records import normalise, problem_of
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


@pytest.fixture(scope="session")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An MLflow server for the whole session: it takes 10 to 20 s to start."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with mlflow_server.running(tmp_path_factory.mktemp("mlflow"), port=port) as url:
        yield url


@pytest.fixture(scope="session")
def second_mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Another, empty server."""
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
        norms = self.draw.lognormal(size=(steps, 3, tensors))
        whole = np.sqrt(np.square(norms).sum(axis=2))
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
            chunks=[Chunk.of(run.id, "norms", run.step, norms.reshape(steps, -1))],
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


@pytest.fixture
def train_study(laboratory: "Laboratory") -> Callable[..., str]:
    """Submit a study through `submit_study`, train it, and return its id."""

    def train_it(**spec: Any) -> str:
        settings, cohorts = Settings().model_copy(update={"workers": 1}), list[str]()
        study = submit_study(laboratory.store, parse_study(spec), publish=cohorts.append, settings=settings)
        for cohort in cohorts:
            assert train(laboratory.store, cohort, owner="tests", settings=settings) == "finished"
        return study.id

    return train_it


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
