"""What MLflow is told of a study as a whole: a run that stands for it, with its ranking, its figures, its report."""

from talweg.comparison.stored import comparison_of, markdown, paths_of, picture, report, summary
from talweg.mlflow_server import WORKFLOW
from talweg.store import Store, StudyRow
from talweg.tracking.destination import Destination
from talweg.tracking.naming import problem_name, status, tags
from talweg.tracking.notes import study_note
from talweg.tracking.series import milliseconds

# What MLflow shows as the description.
NOTE_TAG = "mlflow.note.content"


def tell_study(store: Store, destination: Destination, study: StudyRow, experiment: str) -> None:
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
        "report.html": report(study, compared, paths_of(store, compared)).encode(),
        "report.md": markdown(study, compared).encode(),
        "figures/cost.png": picture(study, compared, "png"),
        "figures/cost.svg": picture(study, compared, "svg"),
    }
    destination.attach(run_id, files)
    address = f"#/experiments/{experiment}/runs/{run_id}/artifacts/report.html?{WORKFLOW}"
    note = tags({NOTE_TAG: study_note(study.name, study.spec, outcome=summary(compared), report=address)})
    destination.describe(run_id, {}, own | note)
    destination.annotate(experiment, note)
    destination.close_run(run_id, name=name, status=status(study.state), end=ended)
