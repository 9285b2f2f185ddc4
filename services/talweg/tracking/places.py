"""Where runs go in MLflow: the experiment of their study, and what their names must tell apart there."""

from dataclasses import dataclass

from talweg.comparison.labels import varying
from talweg.store import RunRow, Store, StudyRow
from talweg.tracking.destination import Destination
from talweg.tracking.marks import Marks
from talweg.tracking.naming import SINGLE_RUNS, run_name
from talweg.tracking.notes import study_note
from talweg.tracking.studies import NOTE_TAG

# Stands for the runs that belong to no study.
NO_STUDY = "none"


@dataclass(frozen=True)
class Place:
    """An experiment, and the hyperparameters that its runs' names show; `alone` where they begin with the problem's."""

    experiment: str
    keys: frozenset[str]
    alone: bool

    def name(self, run: RunRow) -> str:
        """What the run is called here."""
        return run_name(run.spec, self.keys, alone=self.alone, stop_reason=run.stop_reason)


class Places:
    """Each study's place, asked for once."""

    def __init__(self, store: Store, marks: Marks, destination: Destination) -> None:
        """Nothing is created before a run needs it."""
        self._store, self._marks, self._destination = store, marks, destination
        self._known: dict[str, Place] = {}

    def of(self, run: RunRow) -> Place:
        """The run's place; creates the study's experiment where there is none, and tells the store its id."""
        if run.study_id is not None:
            return self._known.get(run.study_id) or self.of_study(self._store.study(run.study_id))
        if NO_STUDY not in self._known:
            tags = {NOTE_TAG: "Runs that were submitted one by one, outside of any study."}
            experiment = self._destination.experiment(NO_STUDY, SINGLE_RUNS, tags)
            self._known[NO_STUDY] = Place(experiment, frozenset(), alone=True)
        return self._known[NO_STUDY]

    def of_study(self, study: StudyRow) -> Place:
        """A study's place."""
        if study.id not in self._known:
            note = {NOTE_TAG: study_note(study.name, study.spec)}
            experiment = self._destination.experiment(study.id, study.name, note)
            self._marks.mark_study_mirrored(study.id, experiment)
            keys = varying(study.spec["optimizers"]) | set((study.spec.get("search") or {}).get("space", ()))
            # Where there are several problems, a run's name begins with its own.
            self._known[study.id] = Place(experiment, keys, alone=bool(study.spec.get("problems")))
        return self._known[study.id]

    def forget(self) -> None:
        """Look again: the server may be another one, or an empty one."""
        self._known.clear()
