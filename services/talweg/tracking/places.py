"""Where runs go in MLflow: the experiment of their study, and what their names must tell apart there."""

import threading
from dataclasses import dataclass

from talweg.comparison.labels import varying
from talweg.records import problems_of
from talweg.spec import StudySpec
from talweg.store import RunRow, Store, StudyRow
from talweg.tracking.destination import Destination
from talweg.tracking.marks import Marks
from talweg.tracking.naming import SINGLE_RUNS, run_name
from talweg.tracking.notes import study_note
from talweg.tracking.studies import NOTE_TAG
from talweg.tracking.views import VIEW_TAG, view

# Stands for the runs that belong to no study.
NO_STUDY = "none"


@dataclass(frozen=True)
class Place:
    """An experiment, and what its runs have in common.

    Attributes:
        keys: the hyperparameters that runs' names show.
        alone: a run's name begins with its problem's.
        runs: how many of them share a budget of points.
    """

    experiment: str
    keys: frozenset[str]
    alone: bool
    runs: int = 1

    def name(self, run: RunRow) -> str:
        """What the run is called here."""
        return run_name(run.spec, self.keys, alone=self.alone, stop_reason=run.stop_reason)


class Places:
    """Each study's place, asked for once."""

    def __init__(self, store: Store, marks: Marks, destination: Destination) -> None:
        """Nothing is created before a run needs it."""
        self._store, self._marks, self._destination = store, marks, destination
        self._known: dict[str, Place] = {}
        # An experiment that two looked for at once would be there twice.
        self._asking = threading.Lock()

    def of(self, run: RunRow) -> Place:
        """The run's place; creates the study's experiment where there is none, and tells the store its id."""
        known = self._known.get(run.study_id or NO_STUDY)
        if known is not None:
            return known
        return self.of_study(self._store.study(run.study_id)) if run.study_id is not None else self._of_none()

    def of_study(self, study: StudyRow) -> Place:
        """A study's place."""
        with self._asking:
            if study.id in self._known:
                return self._known[study.id]
            spec = StudySpec.model_validate(study.spec)
            shown = {NOTE_TAG: study_note(study.name, study.spec), VIEW_TAG: view(problems_of(spec))}
            experiment = self._destination.experiment(study.id, study.name, shown)
            self._marks.mark_study_mirrored(study.id, experiment)
            keys = varying(study.spec["optimizers"]) | set((study.spec.get("search") or {}).get("space", ()))
            # Where there are several problems, a run's name begins with its own.
            several = bool(study.spec.get("problems"))
            place = Place(experiment, keys, alone=several, runs=spec.size())
            return self._known.setdefault(study.id, place)

    def _of_none(self) -> Place:
        with self._asking:
            if NO_STUDY not in self._known:
                words = "Runs that were submitted one by one, outside of any study."
                tags = {NOTE_TAG: words, VIEW_TAG: view([])}
                experiment = self._destination.experiment(NO_STUDY, SINGLE_RUNS, tags)
                self._known[NO_STUDY] = Place(experiment, frozenset(), alone=True)
            return self._known[NO_STUDY]

    def forget(self) -> None:
        """Look again: the server may be another one, or an empty one."""
        self._known.clear()
