"""What MLflow is told of a run beside its metrics: when it appears there, and when it has ended."""

import hashlib
import json

import numpy as np

from talweg.comparison.figures import cost_curves, png
from talweg.comparison.results import Result
from talweg.store import RunRow, Store
from talweg.tracking.destination import Destination
from talweg.tracking.naming import parameters, problem_name, status, tags
from talweg.tracking.notes import run_note
from talweg.tracking.places import NOTE_TAG, Place
from talweg.tracking.series import milliseconds
from talweg.tracking.thinning import Thinning
from talweg_core.problems import NetworkProblem, Problem


def open_run(destination: Destination, place: Place, run: RunRow, problem: Problem, thinning: Thinning) -> str:
    """Find or create the MLflow run, say what it is, and return its id."""
    about = _tags(run, thinning)
    start = milliseconds(run.started_at or run.created_at)
    run_id = destination.run(place.experiment, run.id, name=place.name(run), start=start, tags=about)
    destination.describe(run_id, parameters(run.spec), about)
    if isinstance(problem, NetworkProblem):
        source = json.dumps({"dataset": problem.dataset.name, "examples": len(problem.dataset.inputs)})
        destination.use(run_id, problem.dataset.name, _digest(problem), source, context="training")
    return run_id


def close_run(
    store: Store, destination: Destination, place: Place, run: RunRow, run_id: str, thinning: Thinning
) -> None:
    """Say how the run ended: tags, note, cost curve, name and status, in that order; the status comes last."""
    about = _tags(run, thinning)
    destination.describe(run_id, {}, about)
    files = {"note.md": about[NOTE_TAG].encode()}
    if run.step:
        files["cost.png"] = _figure(store, place, run)
    destination.attach(run_id, files)
    end = milliseconds(run.finished_at or run.created_at)
    destination.close_run(run_id, name=place.name(run), status=status(run.state), end=end)


def _tags(run: RunRow, thinning: Thinning) -> dict[str, str]:
    thinned = str(thinning) if thinning.thins else None
    return tags(
        {
            "talweg.run": run.id,
            "talweg.name": run.name,
            "talweg.study": run.study_id,
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
            NOTE_TAG: run_note(run, thinned),
            "mlflow.source.name": "talweg",
            "mlflow.user": "talweg",
        }
    )


def _figure(store: Store, place: Place, run: RunRow) -> bytes:
    result = Result(
        run=run.id,
        optimizer=run.spec["optimizer"],
        seed=run.seed,
        # A run that was cancelled or failed has no place in a comparison, but here it is the only curve.
        state="finished",
        stop_reason=run.stop_reason,
        costs=store.steps(run.id, 0, run.step).cost,
    )
    return png(cost_curves([result], title=place.name(run)), dots_per_inch=110)


def _digest(problem: NetworkProblem) -> str:
    """sha256 of inputs and targets, as far as MLflow has room."""
    data = hashlib.sha256(np.ascontiguousarray(problem.dataset.inputs).tobytes())
    data.update(np.ascontiguousarray(problem.dataset.targets).tobytes())
    return data.hexdigest()[:32]
