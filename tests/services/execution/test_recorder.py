"""From steps to segments: where they are cut, and which checkpoints are kept."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

from talweg.execution.recorder import Recorder
from talweg.execution.segment import Segment
from talweg.records import cohort_of, normalise
from talweg.spec import RunSpec
from talweg.store.batch import CHUNK_STEPS

NEVER, ALWAYS = 1e9, 1e-9


@dataclass
class Kept:
    """Keeps what it is given."""

    segments: list[Segment] = field(default_factory=list)

    def put(self, segment: Segment) -> None:
        """Keep it."""
        self.segments.append(segment)

    def checkpoints(self, row: int = 0) -> list[int]:
        """The steps whose checkpoints are kept for ever."""
        return [made.step for s in self.segments for made in s.checkpoints.get(row, ()) if made.kept]


def record(specs: list[RunSpec], commit_seconds: float, every: int = CHUNK_STEPS) -> Kept:
    """Train to the end as the worker does."""
    kept, cohort = Kept(), cohort_of([normalise(spec) for spec in specs])
    recorder = Recorder(
        cohort, kept, last_step=specs[0].steps, record="full", every=every, commit_seconds=commit_seconds
    )
    while cohort.active.any() and cohort.step < specs[0].steps:
        recorder.step()
    recorder.stop([row for row in range(len(specs)) if cohort.active[row]], "finished")
    recorder.cut(commit=True)
    return kept


@pytest.mark.parametrize("commit_seconds", [NEVER, ALWAYS])
def test_kept_checkpoints_do_not_depend_on_the_clock(spec: Callable[..., RunSpec], commit_seconds: float) -> None:
    assert record([spec(steps=200)], commit_seconds).checkpoints() == [64, 128, 192, 200]
    assert record([spec(steps=200)], commit_seconds, every=128).checkpoints() == [128, 200]


def test_every_commit_holds_a_checkpoint_of_every_run(spec: Callable[..., RunSpec]) -> None:
    kept = record([spec(seed=0), spec(seed=1)], ALWAYS)
    for segment in kept.segments:
        assert segment.commit
        assert {row: made[-1].step for row, made in segment.checkpoints.items()} == dict.fromkeys(
            (0, 1), segment.first_step + segment.count
        )


@pytest.mark.parametrize("commit_seconds", [NEVER, ALWAYS])
def test_segments_join_and_never_cross_a_chunk_boundary(spec: Callable[..., RunSpec], commit_seconds: float) -> None:
    step = 0
    for segment in record([spec()], commit_seconds).segments:
        assert segment.first_step == step
        step += segment.count
        assert segment.first_step // CHUNK_STEPS == (step - 1) // CHUNK_STEPS
    assert step == 150


def test_what_is_recorded_does_not_depend_on_the_clock(spec: Callable[..., RunSpec]) -> None:
    once, often = record([spec()], NEVER), record([spec()], ALWAYS)
    assert len(often.segments) > len(once.segments)
    for column in ("costs", "gradients", "parameters", "norms"):
        joined = [
            np.concatenate([getattr(segment, column)[: segment.count] for segment in kept.segments])
            for kept in (once, often)
        ]
        assert joined[0].tobytes() == joined[1].tobytes()


def test_the_last_commit_is_small(spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    # A clock by which every step takes as long as the others.
    ticks = count()
    steady = SimpleNamespace(monotonic=lambda: float(next(ticks)), perf_counter=time.perf_counter)
    monkeypatch.setattr("talweg.execution.recorder.time", steady)
    monkeypatch.setattr("talweg.execution.recorder._FIRST_COMMIT", 1e6)
    segments = record([spec(steps=1000)], NEVER).segments
    assert [s.first_step + s.count for s in segments if s.commit] == [512, 768, 896, 960, 1000]


def test_a_diverged_run_stops_alone_with_its_last_step_recorded(spec: Callable[..., RunSpec]) -> None:
    wild = {"name": "sgd", "learning_rate": 1e30}
    tame = {"name": "sgd", "learning_rate": 0.01}
    linear = "diabetes-linear"
    kept = record([spec(problem=linear, optimizer=wild), spec(problem=linear, optimizer=tame)], NEVER)
    steps = [sum(segment.steps_of(row) for segment in kept.segments) for row in (0, 1)]
    assert steps[0] < 10
    assert steps[1] == 150
    assert [segment.stops for segment in kept.segments if segment.stops] == [{0: "diverged"}, {1: "finished"}]
    assert kept.checkpoints(0) == [steps[0]]
