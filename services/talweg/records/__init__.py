"""Any step of any run: read where it was stored, recomputed and checked where it was not, and explained."""

from talweg.records.explaining import Explanation, explain
from talweg.records.reading import gradient, norms, parameters, records, size_of
from talweg.records.rebuild import (
    cohort_of,
    engine_rules,
    normalise,
    normalise_study,
    optimizer_of,
    problem_of,
    schedule_of,
)
from talweg.records.retracing import Look, retrace, stored

__all__ = [
    "Explanation",
    "Look",
    "cohort_of",
    "engine_rules",
    "explain",
    "gradient",
    "normalise",
    "normalise_study",
    "norms",
    "optimizer_of",
    "parameters",
    "problem_of",
    "records",
    "retrace",
    "schedule_of",
    "size_of",
    "stored",
]
