"""What a run's worker took of its machine, as MLflow's system metrics: its page has a tab for what begins so."""

import numpy as np

from talweg.comparison.results import Steps
from talweg.store import RunRow, Store
from talweg.tracking.destination import Series
from talweg.tracking.series import milliseconds

# MLflow's own names begin with this, too.
PROCESSOR, MEMORY = "system/worker_cpu_percent_of_a_core", "system/worker_memory_megabytes"
# Of a run that trains, the latest are sent each time; all of them, once it has ended.
LATEST = 3


def system(store: Store, run: RunRow, *, ended: bool) -> list[Series]:
    """The run's cohort's, which its runs share; the steps are seconds since the run was submitted."""
    samples = store.samples(run.cohort_id)
    samples = samples if ended else samples[-LATEST:]
    if not samples:
        return []
    times = np.array([milliseconds(sample.taken_at) for sample in samples], dtype=np.int64)
    steps: Steps = (times - milliseconds(run.created_at)) // 1000
    return [
        Series(PROCESSOR, steps, np.array([round(sample.processor, 1) for sample in samples]), times),
        Series(MEMORY, steps, np.array([round(sample.memory / 1e6, 1) for sample in samples]), times),
    ]
