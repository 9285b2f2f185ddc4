"""When the mirror looks again."""

import threading
from collections.abc import Callable, Iterator

import pytest

from talweg.errors import Unreachable
from talweg.tracking import LAST_WAIT, keep_mirroring


class Stop(threading.Event):
    """Remembers how long it was asked to wait, and is set after so many waits."""

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


def test_it_rests_when_there_is_nothing_to_do() -> None:
    stop = Stop(3)
    keep_mirroring(always(False), stop, seconds=1.5)
    assert stop.asked == [0.0, 1.5, 1.5, 1.5]


def test_it_goes_on_at_once_while_it_is_behind() -> None:
    stop = Stop(3)
    keep_mirroring(always(True), stop, seconds=1.5)
    assert stop.asked == [0.0, 0.0, 0.0, 0.0]


def test_it_waits_longer_and_longer_for_a_server_that_is_away_and_never_gives_up() -> None:
    def away() -> bool:
        raise Unreachable("MLflow is away")

    stop = Stop(12)
    keep_mirroring(away, stop, seconds=1.0)
    assert stop.asked[:8] == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
    assert set(stop.asked[8:]) == {LAST_WAIT}


def test_it_is_quick_again_once_the_server_is_back() -> None:
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
def test_it_does_not_start_when_it_is_to_stop() -> None:
    stop = threading.Event()
    stop.set()
    keep_mirroring(always(True), stop, seconds=1.0)
