"""Where runs go in MLflow: the experiment of their study, and what their names must tell apart there."""

from dataclasses import dataclass

from talweg.comparison.labels import varying
from talweg.store import RunRow, Store
from talweg.tracking.destination import Destination
from talweg.tracking.naming import SINGLE_RUNS, run_name
from talweg.tracking.notes import study_note

# Stands for the runs that belong to no study.
NO_STUDY = "none"
# What MLflow shows as the description.
NOTE_TAG = "mlflow.note.content"


@dataclass(frozen=True)
class Place:
    """An experiment, and the hyperparameters that its runs' names show; `alone` where they are of no study."""

    experiment: str
    keys: frozenset[str]
    alone: bool

    def name(self, run: RunRow) -> str:
        """What the run is called here."""
        return run_name(run.spec, self.keys, alone=self.alone, stop_reason=run.stop_reason)


class Places:
    """Each study's place, asked for once."""

    def __init__(self, store: Store, destination: Destination) -> None:
        """Nothing is created before a run needs it."""
        self._store, self._destination = store, destination
        self._known: dict[str, Place] = {}

    def of(self, run: RunRow) -> Place:
        """The run's place; creates the study's experiment where there is none, and tells the store its id."""
        study = run.study_id or NO_STUDY
        if study not in self._known:
            self._known[study] = self._single() if run.study_id is None else self._study(run.study_id)
        return self._known[study]

    def forget(self) -> None:
        """Look again: the server may be another one, or an empty one."""
        self._known.clear()

    def _single(self) -> Place:
        tags = {NOTE_TAG: "Runs that were submitted one by one, outside of any study."}
        return Place(self._destination.experiment(NO_STUDY, SINGLE_RUNS, tags), frozenset(), alone=True)

    def _study(self, study_id: str) -> Place:
        study = self._store.study(study_id)
        tags = {NOTE_TAG: study_note(study.name, study.spec)}
        experiment = self._destination.experiment(study.id, study.name, tags)
        self._store.mark_study_mirrored(study.id, experiment)
        keys = varying(study.spec["optimizers"]) | set((study.spec.get("search") or {}).get("space", ()))
        # Where there are several problems, a run's name begins with its own.
        return Place(experiment, keys, alone=bool(study.spec.get("problems")))
