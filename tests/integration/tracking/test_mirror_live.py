"""A run in MLflow while a worker trains it: its chart grows, and its status follows."""

from collections.abc import Callable
from typing import Any

from mlflow import MlflowClient

from talweg.spec import RunSpec


def test_the_chart_of_a_running_run_grows(
    stack: Any,
    start: Callable[[str], Any],
    client: MlflowClient,
    mlflow_url: str,
    eventually: Callable[[Callable[[], bool], str], None],
) -> None:
    # Far more steps than are made here: the test cancels the run.
    run = stack.submit(RunSpec(problem="two-layer-line", optimizer="sgd", steps=50_000_000, record="replay"))
    stack.start_worker()
    start(mlflow_url)

    def last_step() -> int:
        run_id = stack.store.run(run.id).mlflow_run_id
        return -1 if run_id is None else max((m.step for m in client.get_metric_history(run_id, "cost")), default=-1)

    seen = [-1]
    for _ in range(3):
        eventually(lambda: last_step() > seen[-1], f"the chart to grow past step {seen[-1]}")
        seen.append(last_step())
        now = stack.store.run(run.id)
        assert now.state == "running"
        assert client.get_run(now.mlflow_run_id).info.status == "RUNNING"
    stack.store.request_cancel([run.id])
    eventually(lambda: stack.store.run(run.id).state == "cancelled", "the run to be cancelled")
    eventually(lambda: stack.store.outbox() == [], "the rest to be in MLflow")
    ended = stack.store.run(run.id)
    assert last_step() == ended.step - 1
    assert client.get_run(ended.mlflow_run_id).info.status == "KILLED"
