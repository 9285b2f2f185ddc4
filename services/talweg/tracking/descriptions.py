"""A run or a study in MLflow apart from its metrics: tags, parameters, status, description and files."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping

import numpy as np

from talweg.comparison.from_store import comparison_of
from talweg.mlflow_server import WORKFLOW
from talweg.store import RunRow, Store, StudyRow
from talweg.tracking.destination import Destination
from talweg.tracking.experiments import Experiment
from talweg.tracking.metrics import Thinning, milliseconds
from talweg.tracking.naming import (
    DESCRIPTION_TAG,
    parameters,
    problem_name,
    run_description,
    status,
    study_description,
    tags,
)
from talweg.web.report import paths_of, study_markdown, study_picture, study_report, study_summary
from talweg_core.layers.base import Layer
from talweg_core.problems import NetworkProblem, Problem


def describe_study(store: Store, destination: Destination, study: StudyRow, experiment: str) -> None:
    """Write an ended study to MLflow: a run of its own with files, both descriptions, then the status; raises Gone.

    The study's runs are not nested below this run: MLflow hides nested runs in the table and in charts. Its start is
    the end of the last of them, so that it is first in the table.
    """
    ended = milliseconds(max(run.finished_at or run.created_at for run in store.runs_of(study.id)))
    name = f"{study.name} · study"
    about = {"talweg.study": study.id, "talweg.name": study.name, "problem": problem_name(study.spec)}
    own = tags(about | {"mlflow.source.name": "talweg", "mlflow.user": "talweg"})
    run_id = destination.run(experiment, f"study {study.id}", name=name, start=ended, tags=own)
    compared = comparison_of(store, study)
    files = {
        "report.html": study_report(study, compared, paths_of(store, compared)).encode(),
        "report.md": study_markdown(study, compared).encode(),
        "figures/cost.png": study_picture(study, compared, "png"),
        "figures/cost.svg": study_picture(study, compared, "svg"),
    }
    destination.attach(run_id, files)
    address = f"#/experiments/{experiment}/runs/{run_id}/artifacts/report.html?{WORKFLOW}"
    text = study_description(study.name, study.spec, outcome=study_summary(compared), report=address)
    description = tags({DESCRIPTION_TAG: text})
    destination.describe(run_id, {}, own | description)
    destination.annotate(experiment, description)
    destination.close_run(run_id, name=name, status=status(study.state), end=ended)


def open_run(
    destination: Destination, experiment: Experiment, run: RunRow, problem: Problem, thinning: Thinning
) -> str:
    """Find or create the MLflow run, set its tags, parameters and data, and return its id."""
    about = _tags(run, problem, thinning)
    start = milliseconds(run.started_at or run.created_at)
    run_id = destination.run(experiment.id, run.id, name=experiment.name(run), start=start, tags=about)
    destination.describe(run_id, parameters(run.spec), about)
    if isinstance(problem, NetworkProblem):
        source = json.dumps({"dataset": problem.dataset.name, "examples": len(problem.dataset.inputs)})
        destination.use(run_id, problem.dataset.name, _data_digest(problem), source, context="training")
    return run_id


def close_run(
    destination: Destination,
    experiment: Experiment,
    run: RunRow,
    run_id: str,
    problem: Problem,
    thinning: Thinning,
    files: Mapping[str, bytes],
) -> None:
    """Write how the run ended: tags, files, name and, last, the status."""
    about = _tags(run, problem, thinning)
    destination.describe(run_id, {}, about)
    destination.attach(run_id, {"note.md": about[DESCRIPTION_TAG].encode(), **files})
    end = milliseconds(run.finished_at or run.created_at)
    destination.close_run(run_id, name=experiment.name(run), status=status(run.state), end=end)


def _tags(run: RunRow, problem: Problem, thinning: Thinning) -> dict[str, str]:
    thinned = str(thinning) if thinning.thins else None
    return tags(
        {
            "talweg.run": run.id,
            "talweg.name": run.name,
            "talweg.study": run.study_id,
            # Of a fork.
            "talweg.parent": run.parent_run_id,
            "talweg.parent_step": run.parent_step,
            "talweg.record": run.record,
            "talweg.thinned": thinned,
            "talweg.numerics": run.numerics,
            "talweg.error": run.error,
            "optimizer": run.optimizer,
            "problem": problem_name(run.spec),
            "seed": run.seed,
            "stop_reason": run.stop_reason,
            "talweg.model": model(problem),
            DESCRIPTION_TAG: run_description(run, thinned),
            "mlflow.source.name": "talweg",
            "mlflow.user": "talweg",
        }
    )


def model(problem: Problem) -> str:
    """The problem's network on one line: `64 → dense 64 relu → …: 4,810 parameters, cross entropy`."""
    size = f"{problem.layout.size:,} parameters"
    if not isinstance(problem, NetworkProblem):
        return f"test function of {size}"
    layers = " → ".join(_layer(layer) for layer in problem.network.layers)
    inputs = " × ".join(map(str, problem.network.shape))
    return f"{inputs} → {layers}: {size}, {problem.network.cost.name.replace('_', ' ')}"


def _layer(layer: Layer) -> str:
    settings = dataclasses.asdict(layer)
    words = [str(settings[key]) for key in ("units", "channels", "activation") if settings.get(key) is not None]
    return " ".join([layer.kind, *(word for word in words if word != "identity")])


def _data_digest(problem: NetworkProblem) -> str:
    """The first 32 hex digits of the sha256 of inputs and targets: MLflow takes no more."""
    data = hashlib.sha256(np.ascontiguousarray(problem.dataset.inputs).tobytes())
    data.update(np.ascontiguousarray(problem.dataset.targets).tobytes())
    return data.hexdigest()[:32]
