"""`python -m talweg.tracking` as a process: it waits for MLflow, may be killed, and ends at SIGTERM."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

TIMEOUT = 120.0
Start = Callable[[str], "subprocess.Popen[bytes]"]
Eventually = Callable[[Callable[[], bool], str], None]


def test_a_mirror_killed_half_way_goes_on_where_it_was(
    laboratory: Any, start: Start, eventually: Eventually, client: MlflowClient, mlflow_url: str, tmp_path: Path
) -> None:
    worker, (run,) = laboratory.submit(problem="digits-mlp", steps=3000)
    costs = worker.draw.lognormal(size=3000)
    worker.record(run, 3000, costs=costs, state="finished", stop_reason="finished")
    first = start(mlflow_url)
    eventually(lambda: laboratory.store.run(run.id).mirrored_step > 0, "the first steps in MLflow")
    first.kill()
    first.wait()
    assert laboratory.store.run(run.id).mirrored_step < 3000

    second = start(mlflow_url)
    eventually(lambda: laboratory.store.outbox() == [], "the rest")
    found = client.get_metric_history(laboratory.store.run(run.id).mlflow_run_id, "cost")
    assert [(point.step, point.value) for point in found] == list(enumerate(costs.tolist()))

    second.send_signal(signal.SIGTERM)
    assert second.wait(TIMEOUT) == 0
    assert "Traceback" not in (tmp_path / "tracking.log").read_text()


def test_without_mlflow_it_waits_and_logs_that_and_ends_at_sigterm(
    laboratory: Any, start: Start, eventually: Eventually, tmp_path: Path
) -> None:
    worker, (run,) = laboratory.submit()
    worker.finish(run)
    process = start("http://127.0.0.1:9")
    eventually(lambda: "not mirroring" in (tmp_path / "tracking.log").read_text(), "the warning in the log")
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(TIMEOUT) == 0
    assert [row.id for row in laboratory.store.outbox()] == [run.id]
