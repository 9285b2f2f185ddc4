"""What MLflow gets of a run or a study beside metrics: tags, parameters, state, ranking, figures, report."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping

import numpy as np

from talweg.comparison.from_store import comparison_of
from talweg.mlflow_server import WORKFLOW
from talweg.store import RunRow, Store, StudyRow
from talweg.tracking.destination import Destination
from talweg.tracking.experiments import Place
from talweg.tracking.metrics import Thinning, milliseconds
from talweg.tracking.naming import NOTE_TAG, parameters, problem_name, run_note, status, study_note, tags
from talweg.web.report import paths_of, study_markdown, study_picture, study_report, study_summary
from talweg_core.layers.base import Layer
from talweg_core.problems import NetworkProblem, Problem


def describe_study(store: Store, destination: Destination, study: StudyRow, experiment: str) -> None:
    """Say how the study ended: its run with its files, both descriptions, then the status; raises Gone.

    Its runs are not nested below it: MLflow folds nested runs away, and charts what it shows, which would be nothing.
    It begins when the last of them ended, so that it stands first in the table.
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
    note = tags({NOTE_TAG: study_note(study.name, study.spec, outcome=study_summary(compared), report=address)})
    destination.describe(run_id, {}, own | note)
    destination.annotate(experiment, note)
    destination.close_run(run_id, name=name, status=status(study.state), end=ended)


def open_run(destination: Destination, place: Place, run: RunRow, problem: Problem, thinning: Thinning) -> str:
    """Find or create the MLflow run, say what it is, and return its id."""
    about = _tags(run, problem, thinning)
    start = milliseconds(run.started_at or run.created_at)
    run_id = destination.run(place.experiment, run.id, name=place.name(run), start=start, tags=about)
    destination.describe(run_id, parameters(run.spec), about)
    if isinstance(problem, NetworkProblem):
        source = json.dumps({"dataset": problem.dataset.name, "examples": len(problem.dataset.inputs)})
        destination.use(run_id, problem.dataset.name, _architecture_digest(problem), source, context="training")
    return run_id


def close_run(
    destination: Destination,
    place: Place,
    run: RunRow,
    run_id: str,
    problem: Problem,
    thinning: Thinning,
    files: Mapping[str, bytes],
) -> None:
    """Say how the run ended: tags, note, files, name and status, in that order; the status comes last."""
    about = _tags(run, problem, thinning)
    destination.describe(run_id, {}, about)
    destination.attach(run_id, {"note.md": about[NOTE_TAG].encode(), **files})
    end = milliseconds(run.finished_at or run.created_at)
    destination.close_run(run_id, name=place.name(run), status=status(run.state), end=end)


def _tags(run: RunRow, problem: Problem, thinning: Thinning) -> dict[str, str]:
    thinned = str(thinning) if thinning.thins else None
    return tags(
        {
            "talweg.run": run.id,
            "talweg.name": run.name,
            "talweg.study": run.study_id,
            # Where it was forked, and from which run.
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
            NOTE_TAG: run_note(run, thinned),
            "mlflow.source.name": "talweg",
            "mlflow.user": "talweg",
        }
    )


def model(problem: Problem) -> str:
    """What is trained, on one line: `dense (64), relu → …: 4,810 parameters, cross entropy`."""
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


def _architecture_digest(problem: NetworkProblem) -> str:
    """sha256 of inputs and targets, as far as MLflow has room."""
    data = hashlib.sha256(np.ascontiguousarray(problem.dataset.inputs).tobytes())
    data.update(np.ascontiguousarray(problem.dataset.targets).tobytes())
    return data.hexdigest()[:32]
