"""A report's interactive charts as data: the median and range of each group.

The page's script only draws these numbers. So hiding a group changes no number of another.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from talweg.comparison.compare import Comparison, OnProblem, shown
from talweg.comparison.contenders import Contender
from talweg.comparison.results import Floats, Result, Steps
from talweg.figures.colours import Style, style
from talweg.figures.curves import DRAWN, Curve, curve_notes, judged_curve, median_curve, spans_decades

# Points of all curves of a page together: with their ranges, less than 1 MB of text.
_POINTS = 24_000
_FEWEST = 100


@dataclass(frozen=True)
class Chart:
    """One chart; `content` is the input of the page's script (assets/charts.js)."""

    content: dict[str, Any]


def curve_charts(comparison: Comparison, problem: OnProblem) -> list[Chart]:
    """The cost of every step, and of every evaluation on the validation split where there are any."""
    runs = {contender: _counting(comparison, problem, contender) for contender in comparison.contenders}
    validated = any("validation" in run.evaluations for own in runs.values() for run in own)
    points = _points(comparison, 2 if validated else 1)
    training = {
        contender: median_curve([run.costs.array for run in own], points=points) for contender, own in runs.items()
    }
    name = "Training cost (each step’s batch)" if validated else "Cost"
    target = problem.target
    charts = [_chart(comparison, problem, name, training, math.inf if validated else target)]
    if validated:
        found = {contender: judged_curve(own, points=points) for contender, own in runs.items()}
        charts.append(_chart(comparison, problem, "Validation cost", found, target))
    return charts


def along_charts(comparison: Comparison) -> list[Chart]:
    """By problem the judged cost by step."""
    points = _points(comparison, len(comparison.problems))
    charts = []
    for problem in comparison.problems:
        found = {
            contender: judged_curve(_counting(comparison, problem, contender), points=points)
            for contender in comparison.contenders
        }
        charts.append(_chart(comparison, problem, f"{problem.name}: {problem.judged_by}", found, problem.target))
    return charts


def _points(comparison: Comparison, charts: int) -> int:
    return min(DRAWN, max(_POINTS // (charts * len(comparison.contenders)), _FEWEST))


def _counting(comparison: Comparison, problem: OnProblem, contender: Contender) -> list[Result]:
    return [run for run in shown(comparison, problem, contender) if run.counts]


def _chart(
    comparison: Comparison, problem: OnProblem, title: str, curves: dict[Contender, Curve | None], target: float
) -> Chart:
    known = {contender: curve for contender, curve in curves.items() if curve is not None}
    logarithmic = spans_decades([part for curve in known.values() for part in (curve.low, curve.high)])
    lost = {
        s.contender.position: (s.diverged + s.blown_up, s.runs) for s in problem.standings if s.diverged + s.blown_up
    }
    notes = [f"line: median of {_most(comparison, problem)} seeds, band: full range"]
    notes += curve_notes(list(known.values()))
    if math.isfinite(target):
        notes.append("dashed: target")
    return Chart(
        {
            "title": title,
            "note": "; ".join(notes),
            "log": logarithmic,
            "target": _number(target) if math.isfinite(target) else None,
            "groups": [
                _group(contender, style(contender.optimizer, contender.variant), curve, lost.get(contender.position))
                for contender, curve in known.items()
            ],
        }
    )


def _most(comparison: Comparison, problem: OnProblem) -> int:
    return max((len(_counting(comparison, problem, contender)) for contender in comparison.contenders), default=0)


def _group(contender: Contender, pen: Style, curve: Curve, lost: tuple[int, int] | None) -> dict[str, Any]:
    smooth = None if curve.smooth is None else [curve.smooth[0].tolist(), _numbers(curve.smooth[1])]
    return {
        "label": contender.label + (f" ({lost[0]} of {lost[1]} did not train)" if lost else ""),
        "colour": pen.colour,
        "dashes": list(pen.dashes),
        "steps": _steps(curve.steps),
        "median": _numbers(curve.median),
        "low": _numbers(curve.low),
        "high": _numbers(curve.high),
        "smooth": smooth,
    }


def _steps(values: Steps) -> list[int]:
    return [int(value) for value in values]


def _numbers(values: Floats) -> list[float | None]:
    return [_number(value) for value in np.asarray(values, dtype=np.float64).tolist()]


def _number(value: float) -> float | None:
    """The value to five digits, more than a screen can resolve; None for NaN and infinity."""
    return float(f"{value:.5g}") if math.isfinite(value) else None
