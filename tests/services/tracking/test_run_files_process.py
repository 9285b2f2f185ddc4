"""Files drawn in another process are the same as those drawn in the mirror's own."""

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
def drawing(local: Store, sqlite_url: str) -> Iterator[RunFilesProcesses]:
    """One process, which has not started yet."""
    processes = RunFilesProcesses(sqlite_url, 1)
    yield processes
    processes.close()


def children() -> set[int]:
    """The ids of the drawing processes of this process."""
    own = psutil.Process().children()
    return {child.pid for child in own if "talweg.tracking.run_files_process" in child.cmdline()}


def test_files_are_the_same_and_a_process_that_was_killed_is_replaced(
    local: Store, trained: Train, drawing: RunFilesProcesses
) -> None:
    run = trained(problem="two-layer-line", optimizer="adam")
    expected = files(local, run, "a title")
    assert drawing.take(run) is None
    assert drawing.begin(run, "a title") is drawing.begin(run, "a title")
    assert drawing.take(run) == expected

    (first,) = children()
    process = psutil.Process(first)
    process.kill()
    process.wait(10)
    drawing.begin(run, "a title")
    assert drawing.take(run) == expected
    assert first not in children()

    drawing.close()
    assert children() == set()


def test_an_unreadable_run_raises_the_error_of_the_process(trained: Train, drawing: RunFilesProcesses) -> None:
    run = replace(trained(problem="two-layer-line", optimizer="adam"), id="nobody")
    drawing.begin(run, "gone")
    with pytest.raises(NotFound, match="nobody"):
        drawing.take(run)


def test_a_run_that_failed_with_the_database_is_drawn_after_its_return(
    local: Store, trained: Train, drawing: RunFilesProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, draw = trained(problem="two-layer-line", optimizer="adam"), drawing._draw
    trouble = iter([Unreachable("database: is away")])

    def once_away(request: dict[str, str]) -> dict[str, bytes]:
        for error in trouble:
            raise error
        return draw(request)

    monkeypatch.setattr(drawing, "_draw", once_away)
    failed = drawing.begin(run, "a title")
    assert isinstance(failed.exception(10), Unreachable)
    assert drawing.begin(run, "a title") is not failed
    assert drawing.take(run) == files(local, run, "a title")
