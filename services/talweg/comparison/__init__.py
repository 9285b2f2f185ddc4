"""Compare optimizers: from runs to scores, intervals, guards and a verdict. `figures` draws it, `web` reports it."""

from talweg.comparison.compare import Comparison, compare
from talweg.comparison.guards import Guard, guards
from talweg.comparison.results import Costs, Evaluations, Group, Result, groups, label, number, varying
from talweg.comparison.scores import Ranking, Row, Spread, Table, ranking, table
from talweg.comparison.times import CLOCKS, UNITS, Clock
from talweg.comparison.verdict import verdict

__all__ = [
    "CLOCKS",
    "UNITS",
    "Clock",
    "Comparison",
    "Costs",
    "Evaluations",
    "Group",
    "Guard",
    "Ranking",
    "Result",
    "Row",
    "Spread",
    "Table",
    "compare",
    "groups",
    "guards",
    "label",
    "number",
    "ranking",
    "table",
    "varying",
    "verdict",
]
