"""How an experiment looks when it is opened: the table's columns, and its charts in sections.

MLflow makes sections of what stands before a slash in a metric's name; ours have dots, so all charts would stand in
one. But it keeps saved views, as tags of the experiment, and shows the one that an address names. People may change it
there: it is written once.
"""

import base64
import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from talweg.tracking.naming import metric_key
from talweg.tracking.series import COORDINATES, NORMS
from talweg.tracking.system import MEMORY, PROCESSOR
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
