"""What MLflow is told of a study as a whole: a run that stands for it, with its ranking, its figures, its report."""

from talweg import comparison
from talweg.comparison import figures
from talweg.comparison.reading import protocol, results_of
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
    results = results_of(store, study)
    ranking = comparison.ranking(results)
    drawn = figures.cost_curves(results, title=study.name)
    facts, svg = protocol(study), figures.svg(drawn)
    destination.attach(
        run_id,
        {
            "report.html": comparison.page(study.name, facts, ranking, svg=svg).encode(),
            "report.md": comparison.markdown(study.name, facts, ranking).encode(),
            "figures/cost.png": figures.png(drawn, dots_per_inch=110),
            "figures/cost.svg": svg,
        },
    )
    report = f"#/experiments/{experiment}/runs/{run_id}/artifacts/report.html"
    note = tags({NOTE_TAG: study_note(study.name, study.spec, ranking=ranking, report=report)})
    destination.describe(run_id, {}, own | note)
    destination.annotate(experiment, note)
    destination.close_run(run_id, name=name, status=status(study.state), end=ended)
