"""Several runs at a time: each has its turn, and none begins once the server is away."""

import threading
from collections.abc import Callable

import pytest

from talweg.errors import Unreachable
from talweg.store import RunRow
from talweg.tracking.mirror import take_turns

Train = Callable[..., RunRow]


@pytest.fixture
def runs(trained: Train) -> list[RunRow]:
    """Six times one run: what they hold does not matter here."""
    return [trained(problem="two-layer-line", optimizer="sgd", steps=1)] * 6


@pytest.mark.parametrize("at_once", [1, 3])
def test_every_run_has_its_turn_and_one_that_has_more_is_told(runs: list[RunRow], at_once: int) -> None:
    seen, more = [], iter([False, True, False, False, False, False])
    lock = threading.Lock()

    def turn(run: RunRow) -> bool:
        with lock:
            seen.append(run)
            return next(more)

    assert take_turns(turn, runs, at_once=at_once)
    assert seen == runs
    assert not take_turns(lambda _: False, runs, at_once=at_once)
    assert not take_turns(turn, [], at_once=at_once)


def test_so_many_are_under_way_together(runs: list[RunRow]) -> None:
    # Nobody passes before three are there: with fewer at once this would break by its timeout.
    together = threading.Barrier(3, timeout=30)
    assert take_turns(lambda _: together.wait() >= 0, runs, at_once=3)


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_server_that_is_away_ends_all_turns(runs: list[RunRow], at_once: int) -> None:
    begun = []

    def away(run: RunRow) -> bool:
        begun.append(run)
        raise Unreachable("MLflow: is away")

    with pytest.raises(Unreachable):
        take_turns(away, runs, at_once=at_once)
    assert len(begun) <= at_once
