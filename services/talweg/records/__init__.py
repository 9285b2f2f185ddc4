"""Any step of any run: read where it was stored, recomputed and checked where it was not, and explained."""

from talweg.records.clocks import evaluations_made, seconds
from talweg.records.explaining import Explanation, explain
from talweg.records.reading import gradient, norms, parameters, records, size_of
from talweg.records.rebuild import (
    cohort_of,
    engine_rules,
    normalise,
    normalise_study,
    optimizer_of,
    problem_of,
    problems_of,
    schedule_of,
)

__all__ = [
    "Explanation",
    "cohort_of",
    "engine_rules",
    "evaluations_made",
    "explain",
    "gradient",
    "normalise",
    "normalise_study",
    "norms",
    "optimizer_of",
    "parameters",
    "problem_of",
    "problems_of",
    "records",
    "schedule_of",
    "seconds",
    "size_of",
]
