"""Files that are made beside the mirror are those that it would have made itself."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import psutil  # type: ignore[import-untyped]  # has no stubs in the lock
import pytest

from talweg.errors import NotFound, Unreachable
from talweg.store import RunRow, Store
from talweg.tracking.run_files import files
from talweg.tracking.run_files_process import RunFilesProcesses

Train = Callable[..., RunRow]


@pytest.fixture
def beside(local: Store, sqlite_url: str) -> Iterator[RunFilesProcesses]:
    """One process, which has not started yet."""
    drawers = RunFilesProcesses(sqlite_url, 1)
    yield drawers
    drawers.rest()


def children() -> set[int]:
    """The processes that draw for this one."""
    own = psutil.Process().children()
    return {child.pid for child in own if "talweg.tracking.run_files_process" in child.cmdline()}


def test_files_are_the_same_and_a_process_that_was_killed_is_replaced(
    local: Store, trained: Train, beside: RunFilesProcesses
) -> None:
    run = trained(problem="two-layer-line", optimizer="adam")
    expected = files(local, run, "a title")
    assert beside.take(run) is None
    assert beside.begin(run, "a title") is beside.begin(run, "a title")
    assert beside.take(run) == expected

    (first,) = children()
    process = psutil.Process(first)
    process.kill()
    process.wait(10)
    beside.begin(run, "a title")
    assert beside.take(run) == expected
    assert first not in children()

    # And none is left once nothing waits.
    beside.rest()
    assert children() == set()


def test_what_cannot_be_read_is_said_as_it_would_be_here(trained: Train, beside: RunFilesProcesses) -> None:
    run = replace(trained(problem="two-layer-line", optimizer="adam"), id="nobody")
    beside.begin(run, "gone")
    with pytest.raises(NotFound, match="nobody"):
        beside.take(run)


def test_what_failed_with_the_database_is_made_once_it_is_back(
    local: Store, trained: Train, beside: RunFilesProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, draw = trained(problem="two-layer-line", optimizer="adam"), beside._draw
    trouble = iter([Unreachable("database: is away")])

    def once_away(run_id: str, title: str) -> dict[str, bytes]:
        for error in trouble:
            raise error
        return draw(run_id, title)

    monkeypatch.setattr(beside, "_draw", once_away)
    failed = beside.begin(run, "a title")
    assert isinstance(failed.exception(10), Unreachable)
    assert beside.begin(run, "a title") is not failed
    assert beside.take(run) == files(local, run, "a title")
