"""Where runs go in MLflow: their study's experiment, how it looks when opened, and how far a server has come."""

import base64
import json
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from talweg.comparison.results import varying
from talweg.records import problems_of
from talweg.spec import StudySpec
from talweg.store import RunRow, RunState, Store, StudyRow
from talweg.tracking.destination import Destination
from talweg.tracking.metrics import COORDINATES, MEMORY, PROCESSOR
from talweg.tracking.naming import NORMS, NOTE_TAG, SINGLE_RUNS, metric_key, run_name, study_note
from talweg_core.problems import NetworkProblem, Problem

# As in addresses: …&viewStateShareKey=talweg.
VIEW = "talweg"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
# What a tag of an experiment may hold; what has no place in it goes to MLflow's own section.
ROOM = 18_000
COLUMNS = ("params.optimizer", "params.learning_rate", "params.seed", "metrics.cost", "metrics.cost.validation")
# Of a line there, how many runs are drawn before someone asks for more.
RUNS = 100

Chart = dict[str, Any]
Section = dict[str, Any]
# Stands for the runs that belong to no study.
NO_STUDY = "none"


class Marks(Protocol):
    """What of the store MLflow has. The Store itself is one, for the server that it is mirrored to."""

    def outbox(self, limit: int = 100) -> list[RunRow]:
        """Runs of which MLflow does not know everything yet, longest not mirrored first."""

    def mark_mirrored(self, run_id: str, step: int, mlflow_run_id: str | None, state: RunState) -> None:
        """MLflow has the steps 0 … step − 1 and the state."""

    def mark_study_mirrored(self, study_id: str, experiment_id: str) -> None:
        """Which MLflow experiment mirrors the study."""

    def unreported_studies(self, limit: int = 100) -> list[str]:
        """Ids of studies that have ended and are mirrored run by run, but as a whole not yet."""

    def mark_study_reported(self, study_id: str, told: bool = True) -> None:
        """MLflow has the study's ranking and report."""


def view(problems: Sequence[Problem]) -> str:
    """The saved view of runs on these problems, as MLflow keeps it."""
    sections, charts = list[Section](), list[Chart]()
    for section, own in _sections(problems):
        if not own:
            continue
        identity = f"talweg-{len(sections)}"
        sections.append(
            {"uuid": identity, "name": section, "display": True, "isReordered": True, "deleted": False}
            | {"isGenerated": False}
        )
        charts += [chart | {"metricSectionId": identity} for chart in own]
    for place, chart in enumerate(charts):
        chart["uuid"] = f"talweg-chart-{place}"
    state = {
        "compareRunSections": sections,
        "compareRunCharts": charts,
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
        "selectedColumns": [_column(column) for column in COLUMNS],
    }
    while len(text := _enveloped(state)) > ROOM:
        charts.pop()
    return text


def _enveloped(state: dict[str, Any]) -> str:
    packed = zlib.compress(json.dumps(state, separators=(",", ":")).encode(), 9)
    # No time of its own: the same study has the same view in every server.
    return json.dumps({"name": "Talweg", "createdAt": 0, "state": f"deflate;{base64.b64encode(packed).decode()}"})


def _column(column: str) -> str:
    kind, _, name = column.partition(".")
    return f"{kind}.`{name}`"


def _sections(problems: Sequence[Problem]) -> Iterator[tuple[str, list[Chart]]]:
    """Section by section what stands in it, the most asked for first."""
    networks = [problem for problem in problems if isinstance(problem, NetworkProblem)]
    # A network's cost is above 0; a test function's reaches it, or goes below.
    log = bool(networks) and len(networks) == len(problems)
    costs = [_line("cost", log=log)]
    for split in dict.fromkeys(split for problem in problems for split in problem.splits):
        costs.append(_line(metric_key("cost", split), log=log))
        costs += [
            _line(metric_key(metric, split))
            for metric in dict.fromkeys(problem.metric for problem in networks if split in problem.splits)
            if metric is not None
        ]
    yield "Cost", costs
    evaluations = {"xAxisKey": "metric", "selectedXAxisMetricKey": "evaluations", "useGlobalXaxisKey": False}
    yield (
        "Cost by evaluations, learning rate",
        [
            _line("cost", log=log) | evaluations | {"displayName": "cost by evaluations"},
            _line("learning_rate"),
            _line("evaluations"),
        ],
    )
    tensors = list(dict.fromkeys(name for problem in problems for name in problem.layout.names))
    for norm in NORMS:
        yield f"{norm.replace('_', ' ').capitalize()}s", [_line(metric_key(norm, name), log=True) for name in tensors]
    small = [problem for problem in problems if problem.layout.size <= COORDINATES]
    for word in ("derivative", "parameter") if small else ():
        keys = dict.fromkeys(
            metric_key(word, name, *map(str, index))
            for problem in small
            for name, shape in zip(problem.layout.names, problem.layout.shapes, strict=True)
            for index in np.ndindex(shape)
        )
        yield f"{word.capitalize()}s", [_line(key) for key in keys]
    yield "System metrics", [_line(PROCESSOR), _line(MEMORY)]


def _line(key: str, *, log: bool = False) -> Chart:
    return {
        "type": "LINE",
        "metricKey": key,
        "selectedMetricKeys": [key],
        "scaleType": "log" if log else "linear",
        "xAxisScaleType": "linear",
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "range": {},
        "lineSmoothness": 0,
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
        "runsCountToCompare": RUNS,
        "isGenerated": True,
        "deleted": False,
    }


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
