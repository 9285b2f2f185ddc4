"""Several runs at a time: each is sent once, and none begins after the server is unreachable."""

import threading
from collections.abc import Callable

import pytest

from talweg.errors import Unreachable
from talweg.store import RunRow
from talweg.tracking.mirror import any_of

Train = Callable[..., RunRow]


@pytest.fixture
def runs(trained: Train) -> list[RunRow]:
    """The same run six times."""
    return [trained(problem="two-layer-line", optimizer="sgd", steps=1)] * 6


@pytest.mark.parametrize("at_once", [1, 3])
def test_every_run_is_called_once_and_any_true_is_returned(runs: list[RunRow], at_once: int) -> None:
    seen, more = [], iter([False, True, False, False, False, False])
    lock = threading.Lock()

    def call(run: RunRow) -> bool:
        with lock:
            seen.append(run)
            return next(more)

    assert any_of(call, runs, at_once=at_once)
    assert seen == runs
    assert not any_of(lambda _: False, runs, at_once=at_once)
    assert not any_of(call, [], at_once=at_once)


def test_at_once_calls_run_at_the_same_time(runs: list[RunRow]) -> None:
    # The barrier opens for three: with fewer at once this fails by its timeout.
    together = threading.Barrier(3, timeout=30)
    assert any_of(lambda _: together.wait() >= 0, runs, at_once=3)


@pytest.mark.parametrize("at_once", [1, 2])
def test_no_call_starts_after_the_server_is_unreachable(runs: list[RunRow], at_once: int) -> None:
    begun = []

    def away(run: RunRow) -> bool:
        begun.append(run)
        raise Unreachable("MLflow: is away")

    with pytest.raises(Unreachable):
        any_of(away, runs, at_once=at_once)
    assert len(begun) <= at_once
