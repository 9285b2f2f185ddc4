"""Optimizers held against each other: results in, scores, figures and a report out.

`talweg.comparison.figures` stands apart, since matplotlib takes a second to import.
"""

from talweg.comparison.colours import Style, style
from talweg.comparison.labels import label, number, varying
from talweg.comparison.report import markdown, page
from talweg.comparison.results import Evaluations, Group, Result, groups
from talweg.comparison.scores import Ranking, Row, Spread, ranking
from talweg.comparison.tables import Table, table

__all__ = [
    "Evaluations",
    "Group",
    "Ranking",
    "Result",
    "Row",
    "Spread",
    "Style",
    "Table",
    "groups",
    "label",
    "markdown",
    "number",
    "page",
    "ranking",
    "style",
    "table",
    "varying",
]
