"""Any step of any run: read where it was stored, recomputed and checked where it was not, and explained."""

from talweg.records.batches import Batch, batch
from talweg.records.beginning import Beginning, beginning
from talweg.records.clocks import evaluations_between, evaluations_made, seconds
from talweg.records.coordinates import Part, part_of
from talweg.records.explaining import Explanation, StepExplanation, explain, explain_step
from talweg.records.instruments import INSTRUMENTS, Instrument, Measured, measure
from talweg.records.mending import Mended, mend
from talweg.records.prospects import Next, next_updates
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
from talweg.records.retracing import Look, retrace, stored
from talweg.records.verification import Verification, verify

__all__ = [
    "INSTRUMENTS",
    "Batch",
    "Beginning",
    "Explanation",
    "Instrument",
    "Look",
    "Measured",
    "Mended",
    "Next",
    "Part",
    "StepExplanation",
    "Verification",
    "batch",
    "beginning",
    "cohort_of",
    "engine_rules",
    "evaluations_between",
    "evaluations_made",
    "explain",
    "explain_step",
    "gradient",
    "measure",
    "mend",
    "next_updates",
    "normalise",
    "normalise_study",
    "norms",
    "optimizer_of",
    "parameters",
    "part_of",
    "problem_of",
    "problems_of",
    "records",
    "retrace",
    "schedule_of",
    "seconds",
    "size_of",
    "stored",
    "verify",
]
