"""A run or a study in MLflow apart from its metrics: tags, parameters, status, description and files."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from talweg.comparison.compare import Comparison
from talweg.comparison.from_store import comparison_of
from talweg.mlflow_server import WORKFLOW
from talweg.store import RunRow, Store, StudyRow
from talweg.tracking.experiments import Experiment
from talweg.tracking.metrics import DIVERGED, Thinning, milliseconds
from talweg.tracking.naming import (
    COLOUR_TAG,
    DESCRIPTION_TAG,
    RUN_TAG,
    STUDY_TAG,
    diverged_at,
    parameters,
    problem_name,
    run_description,
    status,
    study_description,
    tags,
)
from talweg_core.layers.base import Layer
from talweg_core.problems import NetworkProblem, Problem

if TYPE_CHECKING:
    from talweg.tracking.destination import Destination


def describe_study(store: Store, destination: "Destination", study: StudyRow, experiment: str) -> None:
    """Write an ended study to MLflow: a run of its own with files, both descriptions, then the status; raises Gone.

    The study's runs are not nested below this run: MLflow hides nested runs in the table and in charts. Its start is
    the end of the last of them, so that it is first in the table.
    """
    from talweg.tracking.study_files import study_files

    name, ended = study_run_name(study), study_end(store, study)
    own = study_tags(study)
    run_id = destination.run(experiment, study_run(study.id), name=name, start=ended, tags=own)
    compared = comparison_of(store, study)
    destination.attach(run_id, study_files(store, study, compared))
    description = study_note(study, compared, experiment, run_id)
    destination.describe(run_id, {}, own | description)
    destination.annotate(experiment, description)
    destination.close_run(run_id, name=name, status=status(study.state), end=ended)


def study_run(study_id: str) -> str:
    """The tag `talweg.run` of a study's own run."""
    return f"study {study_id}"


def study_run_name(study: StudyRow) -> str:
    """The name of a study's own run."""
    return f"{study.name} · study"


def study_end(store: Store, study: StudyRow) -> int:
    """The end of the study's last run, in milliseconds since 1970."""
    return milliseconds(max(run.finished_at or run.created_at for run in store.runs_of(study.id)))


def study_tags(study: StudyRow) -> dict[str, str]:
    """The tags of a study's own run, except its description."""
    about = {"talweg.study": study.id, "talweg.name": study.name, "problem": problem_name(study.spec)}
    return tags(about | {"mlflow.source.name": "talweg", "mlflow.user": "talweg"})


def study_note(study: StudyRow, compared: Comparison, experiment: str, run_id: str) -> dict[str, str]:
    """The tag with the description of a study's run and experiment: its results, with the report's address."""
    from talweg.web.report import study_summary

    address = f"#/experiments/{experiment}/runs/{run_id}/artifacts/report.html?{WORKFLOW}"
    text = study_description(study.name, study.spec, outcome=study_summary(compared), report=address)
    return tags({DESCRIPTION_TAG: text})


def open_run(
    destination: "Destination", experiment: Experiment, run: RunRow, problem: Problem, thinning: Thinning
) -> str:
    """Find or create the MLflow run, set its tags, parameters and data, and return its id."""
    about = run_tags(run, problem, thinning)
    start = milliseconds(run.started_at or run.created_at)
    # The colour is set once: a user may choose another.
    own = about | {COLOUR_TAG: experiment.colour(run)}
    run_id = destination.run(experiment.id, run.id, name=experiment.name(run), start=start, tags=own)
    destination.describe(run_id, parameters(run.spec), about)
    if (used := dataset_of(problem)) is not None:
        destination.use(run_id, used.name, used.digest, used.source, context="training")
    return run_id


def close_run(
    destination: "Destination", experiment: Experiment, run: RunRow, run_id: str, tags: Mapping[str, str]
) -> None:
    """Write how the run ended: these tags, then name, status and end."""
    destination.describe(run_id, {}, tags)
    end = milliseconds(run.finished_at or run.created_at)
    destination.close_run(run_id, name=experiment.name(run), status=status(run.state), end=end)


def run_tags(run: RunRow, problem: Problem, thinning: Thinning) -> dict[str, str]:
    """The tags of a run, its description among them."""
    thinned = str(thinning) if thinning.thins else None
    return tags(
        {
            RUN_TAG: run.id,
            "talweg.name": run.name,
            STUDY_TAG: run.study_id,
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
            DIVERGED: diverged_at(run),
            "talweg.model": model(problem),
            DESCRIPTION_TAG: run_description(run, thinned),
            "mlflow.source.name": "talweg",
            "mlflow.user": "talweg",
        }
    )


@dataclass(frozen=True)
class UsedDataset:
    """The data of a network, as MLflow names it; `digest` has 32 hex digits, `source` is JSON."""

    name: str
    digest: str
    source: str


@lru_cache(maxsize=64)
def dataset_of(problem: Problem) -> UsedDataset | None:
    """The data that a problem's runs are trained on; None for a test function."""
    if not isinstance(problem, NetworkProblem):
        return None
    source = json.dumps({"dataset": problem.dataset.name, "examples": len(problem.dataset.inputs)})
    return UsedDataset(problem.dataset.name, _data_digest(problem), source)


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
