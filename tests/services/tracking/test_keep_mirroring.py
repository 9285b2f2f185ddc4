"""The delays of the mirror's loop."""

import threading
from collections.abc import Callable, Iterator

import pytest

from talweg.errors import Unreachable
from talweg.tracking import LAST_WAIT, keep_mirroring


class Stop(threading.Event):
    """Records the timeouts of its waits, and is set after `waits` of them."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self.left, self.asked = waits, list[float]()

    def wait(self, timeout: float | None = None) -> bool:
        """Does not wait."""
        self.asked.append(timeout or 0.0)
        self.left -= 1
        return self.left < 0


def always(answer: bool) -> Callable[[], bool]:
    return lambda: answer


def test_it_waits_when_there_is_nothing_to_do() -> None:
    stop = Stop(3)
    keep_mirroring(always(False), stop, seconds=1.5)
    assert stop.asked == [0.0, 1.5, 1.5, 1.5]


def test_it_does_not_wait_while_there_is_more_to_do() -> None:
    stop = Stop(3)
    keep_mirroring(always(True), stop, seconds=1.5)
    assert stop.asked == [0.0, 0.0, 0.0, 0.0]


def test_delays_double_up_to_a_minute_while_the_server_is_unreachable() -> None:
    def away() -> bool:
        raise Unreachable("MLflow is away")

    stop = Stop(12)
    keep_mirroring(away, stop, seconds=1.0)
    assert stop.asked[:8] == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
    assert set(stop.asked[8:]) == {LAST_WAIT}


def test_delays_are_reset_when_the_server_is_back() -> None:
    answers: Iterator[bool | Unreachable] = iter(
        [True, Unreachable("away"), Unreachable("away"), False, Unreachable("away")]
    )

    def drain() -> bool:
        answer = next(answers)
        if isinstance(answer, Unreachable):
            raise answer
        return answer

    stop = Stop(5)
    keep_mirroring(drain, stop, seconds=0.5)
    assert stop.asked == [0.0, 0.0, 1.0, 2.0, 0.5, 1.0]


@pytest.mark.timeout(300)
def test_it_does_not_start_after_stop() -> None:
    stop = threading.Event()
    stop.set()
    keep_mirroring(always(True), stop, seconds=1.0)
