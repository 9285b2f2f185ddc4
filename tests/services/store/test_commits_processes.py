"""Several processes on one database, and processes that are killed while they write."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sqlalchemy import update

from talweg.store import Store, tables
from talweg.store.tables import FromNow

# Commits as fast as it can: three steps at a time, until it is done or killed.
_COMMITTER = """
import sys
import numpy as np
from talweg.errors import LeaseLost
from talweg.store import Checkpoint, Chunk, CommitBatch, Evaluation, Progress, StepRows, open_store

url, steps, *cohorts = sys.argv[1:]
with open_store(url) as store:
    for cohort in cohorts:
        claim = store.claim(cohort, "committer", 60.0)
        if claim is None:
            continue
        for first in range(claim.runs[0].step, int(steps), 3):
            column = np.arange(first, first + 3, dtype=np.float64)
            store.commit(claim, CommitBatch(
                60.0,
                {run.id: Progress(first + 3) for run in claim.runs},
                [StepRows(run.id, first, column, column, column, column, column) for run in claim.runs],
                [Evaluation(run.id, first, "test", 0.5) for run in claim.runs],
                chunks=[Chunk.of(run.id, "gradient", first, column[:, None] * np.ones(500)) for run in claim.runs],
                checkpoints=[Checkpoint(run.id, first + 3, bytes(5000), kept=False) for run in claim.runs],
            ))
        store.finish(claim)
        print(cohort, flush=True)
"""


def _start(url: str, steps: int, *cohorts: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _COMMITTER, url, str(steps), *cohorts]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _wait_for_step(store: Store, run_id: str, step: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while store.run(run_id).step < step:
        assert process.poll() is None, "the committer ended"
        assert time.monotonic() < deadline, "the committer makes no progress"


def test_processes_share_the_cohorts_between_them(
    store: Store, database_url: str, submitted: Callable[..., Any]
) -> None:
    cohorts = [submitted(2).cohort for _ in range(4)]
    processes = [_start(database_url, 12, *cohorts) for _ in range(2)]
    done = [process.communicate(timeout=600)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(cohort for mine in done for cohort in mine) == sorted(cohorts)
    assert {run.step for run in store.runs().items} == {12}
    assert all(store.cohort(cohort).fence == 1 for cohort in cohorts)


def test_a_process_killed_while_it_commits_leaves_whole_commits(
    store: Store, database_url: str, submitted: Callable[..., Any]
) -> None:
    work = submitted(2)
    run_ids = [run.id for run in work.runs]
    for kill in range(3):
        process = _start(database_url, 10**6, work.cohort)
        # At a different step each time, at any point of a commit.
        _wait_for_step(store, run_ids[0], store.run(run_ids[0]).step + 9 + 6 * kill, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with store.engine.begin() as connection:
            connection.execute(update(tables.cohorts).values(lease_until=FromNow(-1.0)))
        assert store.requeue_expired(100) == [work.cohort]
        assert len({store.run(run_id).step for run_id in run_ids}) == 1
        for run_id in run_ids:
            _assert_whole(store, run_id)


def _assert_whole(store: Store, run_id: str) -> None:
    """All records end at the step of the run's row."""
    step = store.run(run_id).step
    assert step > 0
    assert store.steps(run_id).step.tolist() == list(range(step))
    assert [row.step for row in store.evaluations(run_id)] == list(range(0, step, 3))
    gradients = np.concatenate([chunk.array(np.float64, 500) for chunk in store.chunks(run_id, "gradient", 0, step)])
    assert gradients[:, 7].tolist() == list(range(step))
    assert store.latest_checkpoints([run_id])[run_id][0] == step
