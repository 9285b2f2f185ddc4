"""A process whose clock can be set while it runs. `python -m chaos.jumping MODULE`

`time.time` is what a set clock moves, and what a worker's libraries look at: Celery, its broker's client, `logging`.
Here it returns the real time and as many seconds as the file named by CHAOS_CLOCK says. What never jumps when a clock
is set, `time.monotonic`, stays. Nothing outside of this process sees another time.
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
    """The real time and what the file says; an absent one says nothing."""

    def now() -> float:
        with contextlib.suppress(OSError, ValueError):
            return real() + float(path.read_text())
        return real()

    return now


def set_clock(path: Path, seconds: float) -> None:
    """Let the process that reads the file be so many seconds ahead from now on, or behind."""
    whole = path.with_suffix(".new")
    whole.write_text(str(seconds))
    whole.replace(path)


if __name__ == "__main__":
    # Before anything else is imported: many modules take `time` by name.
    time.time = jumped(Path(os.environ[CLOCK]))
    module = sys.argv[1]
    sys.argv[1:2] = []
    runpy.run_module(module, run_name="__main__", alter_sys=True)
