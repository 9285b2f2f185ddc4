"""Run a module with a clock that can be set from outside: `python -m chaos.jumping MODULE`.

Setting a system's clock changes `time.time`, which a worker's libraries read: Celery, its broker's client, `logging`.
Here it returns the real time plus the seconds in the file named by CHAOS_CLOCK. `time.monotonic`, which a set clock
does not change, stays as it is. Other processes are not affected.
"""

import contextlib
import os
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path

CLOCK = "CHAOS_CLOCK"


def jumped(path: Path, real: Callable[[], float] = time.time) -> Callable[[], float]:
    """A clock that returns the real time plus the seconds in the file; 0 where there is no file."""

    def now() -> float:
        with contextlib.suppress(OSError, ValueError):
            return real() + float(path.read_text())
        return real()

    return now


def set_clock(path: Path, seconds: float) -> None:
    """Set the clock of the process that reads the file to real time plus `seconds`."""
    whole = path.with_suffix(".new")
    whole.write_text(str(seconds))
    whole.replace(path)


if __name__ == "__main__":
    # Before other imports: many modules import `time` by name.
    time.time = jumped(Path(os.environ[CLOCK]))
    module = sys.argv[1]
    sys.argv[1:2] = []
    runpy.run_module(module, run_name="__main__", alter_sys=True)
