"""Baselines of a study's uploaded datasets, which its ranking and report show beside the optimizers.

`talweg.datasets.baselines` computes them at the upload.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from talweg.comparison.guards import Guard
from talweg.comparison.scores import Row
from talweg.errors import NotFound
from talweg.number_format import figures
from talweg.spec import StudySpec
from talweg.store import Store

# The cost that a dataset's baselines have, by what its targets are.
_COST: Final = {"labels": "cross_entropy", "values": "squared_error"}
# Settings of a cost that evaluations leave out.
_PENALTIES: Final = {"name", "l1", "l2"}


@dataclass(frozen=True)
class Baseline:
    """What a simple model reaches on the validation part of a problem; accuracy is None for numbers."""

    problem: str
    name: str
    cost: float
    accuracy: float | None


def baselines_of(store: Store, spec: StudySpec) -> list[Baseline]:
    """The baselines of each problem on an uploaded dataset, where the problem has the same cost."""
    found = []
    for name, own in zip(spec.problem_names(), spec.each_problem(), strict=True):
        settings = own.problem.settings
        if "digest" not in settings:
            continue
        try:
            row = store.dataset(str(settings["digest"]))
        except NotFound:
            continue
        cost = settings.get("cost")
        plain = {"name": cost} if isinstance(cost, str) else cost if isinstance(cost, dict) else {}
        if plain.get("name") != _COST.get(row.kind) or plain.keys() - _PENALTIES:
            continue
        found += [
            Baseline(name, one["name"], one["validation"]["cost"], one["validation"]["accuracy"])
            for one in row.shape.get("baselines", ())
        ]
    return found


def not_beaten(baselines: Iterable[Baseline], rows: Iterable[Row]) -> list[Guard]:
    """A warning for each optimizer of a study of one problem whose median does not beat the best baseline."""
    best = min(baselines, key=lambda one: one.cost, default=None)
    if best is None:
        return []
    return [
        Guard(
            "baseline",
            "warning",
            f"{row.label} does not beat the baseline {best.name}: its median validation cost is "
            f"{figures(row.validation_cost.median)}, that of the {best.name} {figures(best.cost)}",
            (row.label,),
        )
        for row in rows
        if row.validation_cost is not None and not row.validation_cost.median < best.cost
    ]


def in_words(baselines: Iterable[Baseline]) -> str:
    """The baselines in one line, for a report's head."""
    return ", ".join(
        f"{one.name} {figures(one.cost)}" + ("" if one.accuracy is None else f" (accuracy {figures(one.accuracy)})")
        for one in baselines
    )
