"""A plan as JSON, and the check of who listens on a port."""

import os
import subprocess
import sys

from talweg.local.supervisor_plan import ChildPlan, Plan, listens


def test_a_plan_survives_json() -> None:
    child = ChildPlan("api", ["python"], env={"A": "1"}, after=["migrate"], probe="http", target="u", last=True)
    plan = Plan("/home", "mark", "1", "url", {"B": "2"}, [child], notes=["note"], owner=3)
    assert Plan.from_json(plan.to_json()) == plan


def test_listens_is_true_only_for_the_process_that_listens(taken: int) -> None:
    url = f"http://127.0.0.1:{taken}/healthz"
    assert listens(os.getpid(), url)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert not listens(other.pid, url)
        other.communicate(b"\n")
    assert not listens(other.pid, url)
