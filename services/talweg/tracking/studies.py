"""What MLflow is told of a study as a whole: a run above its runs, which has the ranking, the figures, the report."""

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


def open_study(destination: Destination, experiment: str, study: StudyRow) -> str:
    """Find or create the run above the study's runs, and return its id."""
    about = tags(
        {
            "talweg.study": study.id,
            "talweg.name": study.name,
            "problem": problem_name(study.spec),
            "mlflow.source.name": "talweg",
            "mlflow.user": "talweg",
            NOTE_TAG: study_note(study.name, study.spec),
        }
    )
    name = f"{study.name} · study"
    return destination.run(experiment, f"study {study.id}", name=name, start=milliseconds(study.created_at), tags=about)


def close_study(store: Store, destination: Destination, study: StudyRow, experiment: str, parent: str) -> None:
    """Say how the study ended: its files, then both descriptions, then the status."""
    results = results_of(store, study)
    ranking = comparison.ranking(results)
    drawn = figures.cost_curves(results, title=study.name)
    facts, svg = protocol(study), figures.svg(drawn)
    destination.attach(
        parent,
        {
            "report.html": comparison.page(study.name, facts, ranking, svg=svg).encode(),
            "report.md": comparison.markdown(study.name, facts, ranking).encode(),
            "figures/cost.png": figures.png(drawn, dots_per_inch=110),
            "figures/cost.svg": svg,
        },
    )
    report = f"#/experiments/{experiment}/runs/{parent}/artifacts/report.html"
    note = tags({NOTE_TAG: study_note(study.name, study.spec, ranking=ranking, report=report)})
    destination.describe(parent, {}, note)
    destination.annotate(experiment, note)
    ended = [run.finished_at or run.created_at for run in store.runs_of(study.id)]
    destination.close_run(
        parent, name=f"{study.name} · study", status=status(study.state), end=milliseconds(max(ended))
    )
