"""Samples of a worker's load are stored, and never delay its training."""

import subprocess
import sys
import time
from collections.abc import Callable

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import pytest

from talweg.errors import Unreachable
from talweg.execution import submit_run, train
from talweg.execution.training import OFTEN, Sampler
from talweg.settings import Settings
from talweg.spec import RunSpec
from talweg.store import Sample, Store

SETTINGS = Settings().model_copy(update={"workers": 1, "heartbeat_seconds": 0.01})


def test_a_training_leaves_samples(store: Store, spec: Callable[..., RunSpec]) -> None:
    run = submit_run(store, spec(steps=2000), publish=lambda _: None, settings=SETTINGS)
    assert train(store, run.cohort_id, owner="t", settings=SETTINGS) == "finished"
    samples = store.samples(run.cohort_id)
    assert len(samples) > 1
    run = store.run(run.id)
    assert run.started_at is not None
    times = [run.started_at, *(sample.taken_at for sample in samples)]
    assert times == sorted(times)
    assert all(0 < sample.memory < psutil.virtual_memory().total for sample in samples)
    # Clocks may tick coarsely, so single samples may be 0.
    assert max(sample.processor for sample in samples) > 0


def test_a_sample_counts_the_time_since_the_last() -> None:
    sampler, begun = Sampler(), time.process_time()
    while time.process_time() - begun < 0.1:
        pass
    busy = sampler.sample()
    assert busy.number == 0
    assert busy.processor > 0
    assert sampler.sample().number == 1


def test_a_process_that_works_for_this_one_counts_until_it_ends() -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    line = [sys.executable, "-c", busy]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        alone, both = Sampler(), Sampler(process.pid)
        process.stdout.readline()
        one, two = alone.sample(), both.sample()
        assert two.processor > one.processor
        assert two.memory > one.memory + 2_000_000
        process.kill()
        process.wait()
        # The ended process counts as 0, and nothing is raised.
        assert both.sample().processor >= 0
        assert both.sample().memory < two.memory


def test_samples_become_rarer_so_that_a_long_run_has_few() -> None:
    sampler = Sampler()
    taken = sum(sampler.beat() is not None for _ in range(20 * OFTEN))
    assert 3 * OFTEN < taken < 5 * OFTEN


def test_a_store_that_takes_no_sample_ends_no_training(
    store: Store, spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def away(*_: object) -> None:
        asked.append(1)
        raise Unreachable("does not answer")

    monkeypatch.setattr(Store, "add_sample", away)
    run = submit_run(store, spec(), publish=lambda _: None, settings=SETTINGS)
    assert train(store, run.cohort_id, owner="t", settings=SETTINGS) == "finished"
    assert asked


def test_the_same_sample_twice_is_there_once(store: Store, spec: Callable[..., RunSpec]) -> None:
    run = submit_run(store, spec(), publish=lambda _: None, settings=SETTINGS)
    claim = store.claim(run.cohort_id, "t", 60.0)
    assert claim is not None
    for sample in (Sample(0, 50.0, 1), Sample(0, 70.0, 2), Sample(1, 10.0, 3)):
        store.add_sample(claim, sample)
    assert [(row.processor, row.memory) for row in store.samples(run.cohort_id)] == [(50.0, 1), (10.0, 3)]
