"""Recorded steps of runs: read, recompute, explain and verify them."""

from talweg.records.coordinates import Part, part_of, size_of
from talweg.records.explanation import Explanation, Next, StepExplanation, explain, explain_step, next_updates
from talweg.records.fork_start import ForkStart, fork_start
from talweg.records.from_spec import (
    cohort_of,
    engine_rules,
    normalise,
    normalise_study,
    optimizer_of,
    problem_of,
    problems_of,
    schedule_of,
)
from talweg.records.instruments import INSTRUMENTS, Instrument, Measured, measure
from talweg.records.snapshots import Snapshot, recompute_snapshots, stored_snapshots
from talweg.records.steps import (
    Batch,
    batch,
    evaluations_between,
    gradient,
    norms,
    parameters,
    records,
)
from talweg.records.verify_and_repair import Repaired, Verification, repair, verify

__all__ = [
    "INSTRUMENTS",
    "Batch",
    "Explanation",
    "ForkStart",
    "Instrument",
    "Measured",
    "Next",
    "Part",
    "Repaired",
    "Snapshot",
    "StepExplanation",
    "Verification",
    "batch",
    "cohort_of",
    "engine_rules",
    "evaluations_between",
    "explain",
    "explain_step",
    "fork_start",
    "gradient",
    "measure",
    "next_updates",
    "normalise",
    "normalise_study",
    "norms",
    "optimizer_of",
    "parameters",
    "part_of",
    "problem_of",
    "problems_of",
    "recompute_snapshots",
    "records",
    "repair",
    "schedule_of",
    "size_of",
    "stored_snapshots",
    "verify",
]
