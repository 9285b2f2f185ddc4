"""Everything that is true, in SQL: runs, studies, steps, records, leases. The only room that speaks SQL.

`open_store(url)` gives a Store; all else here is what goes into it and what comes out.
"""

from talweg.store.batch import (
    Checkpoint,
    Chunk,
    CommitBatch,
    DerivativeRows,
    Evaluation,
    NewCohort,
    NewRun,
    NewStudy,
    Progress,
    StepRows,
)
from talweg.store.rows import (
    LIVE,
    RUN_STATES,
    Asked,
    ChunkRow,
    Claim,
    CohortRow,
    CohortState,
    DerivativeRow,
    EvaluationRow,
    Page,
    Quantity,
    RunRow,
    RunState,
    StepTable,
    StopReason,
    StudyRow,
    Submitted,
    TokenRow,
)
from talweg.store.signs import Signs
from talweg.store.store import Store, open_store

__all__ = [
    "LIVE",
    "RUN_STATES",
    "Asked",
    "Checkpoint",
    "Chunk",
    "ChunkRow",
    "Claim",
    "CohortRow",
    "CohortState",
    "CommitBatch",
    "DerivativeRow",
    "DerivativeRows",
    "Evaluation",
    "EvaluationRow",
    "NewCohort",
    "NewRun",
    "NewStudy",
    "Page",
    "Progress",
    "Quantity",
    "RunRow",
    "RunState",
    "Signs",
    "StepRows",
    "StepTable",
    "StopReason",
    "Store",
    "StudyRow",
    "Submitted",
    "TokenRow",
    "open_store",
]
