"""Optimizers held against each other: results in, scores, figures and a report out.

`talweg.comparison.figures` stands apart, since matplotlib takes a second to import.
"""

from talweg.comparison.clocks import CLOCKS, UNITS, Clock
from talweg.comparison.colours import Style, style
from talweg.comparison.compare import Comparison, compare
from talweg.comparison.guards import Guard, guards
from talweg.comparison.labels import label, number, varying
from talweg.comparison.report import escape, markdown, markdown_table, page
from talweg.comparison.results import Evaluations, Group, Result, groups
from talweg.comparison.scores import Ranking, Row, Spread, ranking
from talweg.comparison.sections import Charts, Picture, Section, Words, sections
from talweg.comparison.tables import Table, table
from talweg.comparison.verdict import verdict

__all__ = [
    "CLOCKS",
    "UNITS",
    "Charts",
    "Clock",
    "Comparison",
    "Evaluations",
    "Group",
    "Guard",
    "Picture",
    "Ranking",
    "Result",
    "Row",
    "Section",
    "Spread",
    "Style",
    "Table",
    "Words",
    "compare",
    "escape",
    "groups",
    "guards",
    "label",
    "markdown",
    "markdown_table",
    "number",
    "page",
    "ranking",
    "sections",
    "style",
    "table",
    "varying",
    "verdict",
]
