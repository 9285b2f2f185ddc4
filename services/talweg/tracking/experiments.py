"""A study's MLflow experiment with its saved view, and the protocol for a server's progress."""

import base64
import json
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from talweg.comparison.results import varying
from talweg.figures.colours import style
from talweg.records import problems_of
from talweg.spec import StudySpec
from talweg.store import RunRow, RunState, Store, StudyRow
from talweg.tracking.metrics import COORDINATES, MEMORY, PROCESSOR
from talweg.tracking.naming import DESCRIPTION_TAG, NORMS, SINGLE_RUNS, metric_key, run_name, study_description
from talweg_core.problems import NetworkProblem, Problem

# The key in addresses: …&viewStateShareKey=talweg.
VIEW = "talweg"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
# The most characters of the view's tag; charts beyond that go to MLflow's own section.
ROOM = 18_000
COLUMNS = ("params.optimizer", "params.learning_rate", "params.seed", "metrics.cost", "metrics.cost.validation")
# Runs that a line chart draws by default.
RUNS = 100

Chart = dict[str, Any]
Section = dict[str, Any]
# The key of runs that belong to no study.
NO_STUDY = "none"


class MirrorProgress(Protocol):
    """What an MLflow server has of the store. The Store itself is one, for the server that it is mirrored to."""

    def outbox(self, limit: int = 100) -> list[RunRow]:
        """Runs that are not completely in MLflow, the longest not mirrored first."""

    def mark_mirrored(self, run_id: str, step: int, mlflow_run_id: str | None, state: RunState) -> None:
        """Record that MLflow has the steps 0 … step − 1 and the state."""

    def mark_study_mirrored(self, study_id: str, experiment_id: str) -> None:
        """Record the MLflow experiment of the study."""

    def unreported_studies(self, limit: int = 100) -> list[str]:
        """Ids of ended studies whose runs are mirrored, but not yet their ranking and report."""

    def mark_study_reported(self, study_id: str, reported: bool = True) -> None:
        """Record that MLflow has the study's ranking and report."""


class HasExperiments(Protocol):
    """An MLflow server or its database, as far as experiments are concerned."""

    def experiment(self, study: str, name: str, tags: Mapping[str, str]) -> str:
        """The id of the study's experiment, found by its tag or created with `tags`."""


def view(problems: Sequence[Problem]) -> str:
    """The saved view of runs on these problems, in MLflow's format."""
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
    for i, chart in enumerate(charts):
        chart["uuid"] = f"talweg-chart-{i}"
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
    # Without the time of creation, so that a study has the same view on every server.
    return json.dumps({"name": "Talweg", "createdAt": 0, "state": f"deflate;{base64.b64encode(packed).decode()}"})


def _column(column: str) -> str:
    kind, _, name = column.partition(".")
    return f"{kind}.`{name}`"


def _sections(problems: Sequence[Problem]) -> Iterator[tuple[str, list[Chart]]]:
    """The sections with their charts, the most used first."""
    networks = [problem for problem in problems if isinstance(problem, NetworkProblem)]
    # A network's cost is above 0; a test function's may be 0 or less.
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
class Experiment:
    """An MLflow experiment, with the common settings of its runs.

    Attributes:
        id: MLflow's.
        keys: the hyperparameters that runs' names show.
        alone: whether a run's name begins with its problem's.
        runs: the number of runs that share a budget of points.
        colours: of the study's optimizer settings, by position.
    """

    id: str
    keys: frozenset[str]
    alone: bool
    runs: int = 1
    colours: tuple[str, ...] = ()

    def name(self, run: RunRow, *, live: bool = False) -> str:
        """The run's name in this experiment; with `live`, the one that it has until it ends."""
        return run_name(run.spec, self.keys, alone=self.alone, stop_reason=None if live else run.stop_reason)

    def colour(self, run: RunRow) -> str:
        """The colour of the run's curves: that of its optimizer in every figure."""
        position = (run.part or {}).get("optimizer")
        known = isinstance(position, int) and position < len(self.colours)
        return self.colours[position] if known and position is not None else style(run.optimizer).colour


def experiment_of(study: StudyRow | None, experiment_id: str, *, runs: int = 1) -> Experiment:
    """The settings of a study's experiment; of the experiment of runs that belong to no study where None."""
    if study is None:
        return Experiment(experiment_id, frozenset(), alone=True)
    optimizers = study.spec["optimizers"]
    keys = varying(optimizers) | set((study.spec.get("search") or {}).get("space", ()))
    several = bool(study.spec.get("problems"))
    return Experiment(experiment_id, keys, alone=several, runs=runs, colours=colours_of(optimizers))


def colours_of(optimizers: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """A colour for each of a study's optimizer settings, as in its figures.

    Figures tell two optimizers with the same colour apart by dashes, which MLflow does not have: here the later one
    gets another shade.
    """
    found: list[str] = []
    for optimizer in optimizers:
        name = str(optimizer["name"])
        variant = sum(other["name"] == name for other in optimizers[: len(found)])
        # Shades repeat after some: then two settings do share one.
        shades = (style(name, number).colour for number in range(variant, variant + len(optimizers) + 1))
        found.append(next((colour for colour in shades if colour not in found), style(name, variant).colour))
    return tuple(found)


class Experiments:
    """Each study's experiment, found or created at its first use and then cached."""

    def __init__(self, store: Store, progress: MirrorProgress, destination: HasExperiments) -> None:
        """Creates nothing yet."""
        self._store, self._progress, self._destination = store, progress, destination
        self._known: dict[str, Experiment] = {}
        # Two threads that look for the same experiment at the same time would create it twice.
        self._lock = threading.Lock()

    def of(self, run: RunRow) -> Experiment:
        """The run's experiment; creates it where there is none, and records its id in the store."""
        known = self._known.get(run.study_id or NO_STUDY)
        if known is not None:
            return known
        return self.of_study(self._store.study(run.study_id)) if run.study_id is not None else self._of_none()

    def of_study(self, study: StudyRow) -> Experiment:
        """A study's experiment."""
        with self._lock:
            if study.id in self._known:
                return self._known[study.id]
            spec = StudySpec.model_validate(study.spec)
            shown = {DESCRIPTION_TAG: study_description(study.name, study.spec), VIEW_TAG: view(problems_of(spec))}
            experiment_id = self._destination.experiment(study.id, study.name, shown)
            self._progress.mark_study_mirrored(study.id, experiment_id)
            return self._known.setdefault(study.id, experiment_of(study, experiment_id, runs=spec.size()))

    def _of_none(self) -> Experiment:
        with self._lock:
            if NO_STUDY not in self._known:
                tags = {DESCRIPTION_TAG: "Runs that were submitted outside of any study.", VIEW_TAG: view([])}
                experiment_id = self._destination.experiment(NO_STUDY, SINGLE_RUNS, tags)
                self._known[NO_STUDY] = experiment_of(None, experiment_id)
            return self._known[NO_STUDY]

    def forget(self) -> None:
        """Empty the cache: the server may have lost its content or be another one."""
        self._known.clear()
