"""The delays between the restarts of a child."""

import os
from pathlib import Path

import pytest

from talweg.local.supervised_process import FIRST_DELAY, LONGEST_DELAY, Child
from talweg.local.supervisor_plan import ChildPlan
from talweg.local.watchdog import Watchdog


def test_restarts_slow_down_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "logs").mkdir()
    watchdog = Watchdog(dict(os.environ))
    child = Child(ChildPlan("broken", ["/nowhere/broken"]), {}, tmp_path, watchdog)
    monkeypatch.setattr("talweg.local.supervised_process.time.monotonic", lambda: 1000.0)
    delays = []
    for _ in range(9):
        child.start()
        assert child.poll_end()
        assert not child.poll_end()
        rest = child.seconds_to_restart()
        assert rest is not None
        delays.append(rest)
    watchdog.close()
    assert delays[:4] == [FIRST_DELAY, 2 * FIRST_DELAY, 4 * FIRST_DELAY, 8 * FIRST_DELAY]
    assert delays[-1] == LONGEST_DELAY
