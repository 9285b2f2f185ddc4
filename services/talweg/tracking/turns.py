"""Several runs at a time: while MLflow's server works on the points of one, those of the next are read and packed."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from talweg.errors import Unreachable
from talweg.store import RunRow


def each(do: Callable[[RunRow], bool], runs: Sequence[RunRow], *, at_once: int) -> bool:
    """Whether `do` is true of any run; every run has its turn, `at_once` of them in threads of their own.

    Raises Unreachable as soon as `do` did and the turns that had begun are over; whose turn had not begun has none.
    """
    if at_once == 1 or len(runs) < 2:
        return True in [do(run) for run in runs]
    away = threading.Event()

    def turn(run: RunRow) -> bool:
        if away.is_set():
            return False
        try:
            return do(run)
        except Unreachable:
            away.set()
            raise

    with ThreadPoolExecutor(at_once, thread_name_prefix="sending") as threads:
        turns = [threads.submit(turn, run) for run in runs]
        wait(turns)
    return True in [done.result() for done in turns]
