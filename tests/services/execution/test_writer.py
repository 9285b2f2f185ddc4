"""The writer's thread: the limit of its queue, and its errors."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from talweg.execution.segment import Segment
from talweg.execution.segment_store import LocalSegmentStore
from talweg.execution.submission import submit_run
from talweg.execution.writer import DatabaseRetry, Writer
from talweg.records import cohort_of
from talweg.settings import Settings
from talweg.spec import RunSpec
from talweg.store import Store
from talweg_core import numerics


class Held(Exception):
    """The error of these tests."""


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event until which no segment is taken."""
    event, take = threading.Event(), LocalSegmentStore.take

    def waiting(segments: LocalSegmentStore, segment: Segment) -> None:
        assert event.wait(30)
        take(segments, segment)

    monkeypatch.setattr(LocalSegmentStore, "take", waiting)
    return event


@pytest.fixture
def writer(store: Store, spec: Callable[..., RunSpec], settings: Settings) -> tuple[Writer, list[Segment]]:
    """The writer of a claimed cohort of one run, and that run's segments."""
    run = submit_run(store, spec(record="full"), publish=lambda _: None, settings=settings)
    claim = store.claim(run.cohort_id, "test", 60)
    assert claim is not None
    cohort = cohort_of([RunSpec.model_validate(run.spec)])
    segments = []
    while cohort.step < run.total_steps:
        segment, before = Segment.of(cohort, "full", run.total_steps), cohort.parameters.copy()
        assert segment.parameters is not None
        while not segment.full:
            segment.parameters[segment.count] = before
            record = cohort.advance()
            segment.add(record, cohort.norms(before, record), 0.0)
        segments.append(segment)
    target = LocalSegmentStore(store, claim, [run], every=64, numerics=numerics.fingerprint(), lease_seconds=60)
    return Writer(target, DatabaseRetry(0, claim.cohort_id)), segments


def test_put_waits_while_the_queue_is_full(
    writer: tuple[Writer, list[Segment]], gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, (first, second, third) = writer
    monkeypatch.setattr("talweg.execution.writer._WAITING_BYTES", first.nbytes + second.nbytes)
    with made:
        # The first is being written, the second is queued: neither call blocks.
        made.put(first)
        made.put(second)
        last = threading.Thread(target=made.put, args=(third,))
        last.start()
        last.join(0.2)
        assert last.is_alive()
        gate.set()
        last.join(30)
        assert not last.is_alive()


def test_a_segment_larger_than_the_queue_is_written(
    store: Store, writer: tuple[Writer, list[Segment]], gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("talweg.execution.writer._WAITING_BYTES", 1)
    gate.set()
    made, segments = writer
    segments[-1].commit = True
    with made:
        for segment in segments:
            made.put(segment)
    (run,) = store.runs().items
    assert run.step == run.total_steps == len(store.steps(run.id))


def test_an_error_is_raised_and_put_never_blocks_for_ever(
    writer: tuple[Writer, list[Segment]], gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        assert gate.wait(30)
        raise Held("no")

    monkeypatch.setattr(LocalSegmentStore, "take", fail)
    monkeypatch.setattr("talweg.execution.writer._WAITING_BYTES", 1)
    made, (first, second, third) = writer
    threading.Timer(0.1, gate.set).start()
    with pytest.raises(Held), made:  # noqa: PT012 - any of them may raise it
        made.put(first)
        made.put(second)
        made.put(third)
