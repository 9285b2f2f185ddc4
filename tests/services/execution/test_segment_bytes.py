"""Segments arrive unchanged at the writer process."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from talweg.execution.recorder import Recorder
from talweg.execution.segment import Segment, pack, unpack
from talweg.records import cohort_of, normalise
from talweg.spec import RunSpec
from talweg.store.batch import Resolved

ARRAYS = (
    "costs", "learning_rates", "stepped", "norms", "seconds", "gradients", "parameters", "evaluations", "after"
)  # fmt: skip


class Kept(list[Segment]):
    """Keeps what it is given."""

    put = list.append


def there_and_back(segment: Segment) -> Segment:
    said, pieces = pack(segment)
    return unpack(json.loads(json.dumps(said)), np.frombuffer(b"".join(pieces), np.uint8))


@pytest.mark.parametrize("record", ["full", "replay"])
@pytest.mark.parametrize("changed", [{}, {"precision": "float64"}, {"optimizer": "lbfgs", "problem": "rosenbrock"}])
def test_a_segment_arrives_whole(spec: Callable[..., RunSpec], record: Resolved, changed: dict[str, str]) -> None:
    kept = Kept()
    cohort = cohort_of([normalise(spec(seed=seed, **changed)) for seed in (0, 1)])
    recorder = Recorder(cohort, kept, last_step=150, record=record, every=64, commit_seconds=1e-9)
    while cohort.step < 150 and cohort.active.any():
        if cohort.step == 100:
            recorder.evaluate(cohort.problem.splits)
            recorder.stop([1], "cancelled")
        recorder.step()
    recorder.stop([0], "finished")
    # The last segment has no steps.
    recorder.cut(commit=True)
    recorder.cut(commit=True)
    assert kept[-1].count == 0
    for segment in kept:
        found = there_and_back(segment)
        for name in ARRAYS:
            sent, arrived = getattr(segment, name), getattr(found, name)
            assert (sent is None) == (arrived is None)
            if sent is not None:
                sent = sent if name == "after" else sent[: segment.count]
                assert (arrived.dtype, arrived.shape) == (sent.dtype, sent.shape)
                assert arrived.tobytes() == sent.tobytes()
        for name in ("first_step", "count", "evaluated", "checkpoints", "stops", "commit"):
            assert getattr(found, name) == getattr(segment, name)
        assert [found.steps_of(row) for row in (0, 1)] == [segment.steps_of(row) for row in (0, 1)]


def test_numbers_that_are_none_arrive_as_they_are(
    spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    # One segment, however slow this machine is.
    monkeypatch.setattr("talweg.execution.recorder._FIRST_COMMIT", 1e9)
    wild = {"name": "sgd", "learning_rate": 1e30}
    kept = Kept()
    cohort = cohort_of([normalise(spec(problem="diabetes-linear", optimizer=wild))])
    recorder = Recorder(cohort, kept, last_step=150, record="full", every=64, commit_seconds=1e9)
    while cohort.active.any():
        recorder.step()
    recorder.cut(commit=True)
    (segment,) = kept
    found = there_and_back(segment)
    assert not np.isfinite(segment.costs[: segment.count]).all()
    assert found.costs.tobytes() == segment.costs[: segment.count].tobytes()
    assert found.stops == {0: "diverged"}
