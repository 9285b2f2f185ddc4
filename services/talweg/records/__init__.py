"""Any step of any run: read where it was stored, recomputed and checked where it was not, and explained."""

from talweg.records.batches import Batch, batch
from talweg.records.beginning import Beginning, beginning
from talweg.records.coordinates import Part, part_of
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

__all__ = [
    "Batch",
    "Beginning",
    "Explanation",
    "Part",
    "batch",
    "beginning",
    "cohort_of",
    "engine_rules",
    "explain",
    "gradient",
    "normalise",
    "normalise_study",
    "norms",
    "optimizer_of",
    "parameters",
    "part_of",
    "problem_of",
    "records",
    "schedule_of",
    "size_of",
]
