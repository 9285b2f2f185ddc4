"""Pickles of labs, runs and studies hold an address and no token."""

import copy
import multiprocessing
import operator
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pytest

from talweg.client import Lab, Run
from talweg.client.wire import Wire
from talweg.errors import InvalidSpec

SPEC: dict[str, Any] = {"problem": "two-layer-line", "optimizer": "adam", "steps": 20}


@pytest.fixture
def here(address: Any, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The laboratory, with its token where a shared one's is: in the environment."""
    monkeypatch.setenv("TALWEG_TOKEN", address.token)
    return Lab(address.url, token=address.token)


@pytest.fixture
def run(here: Lab, train: Callable[[], None]) -> Run:
    """A run that has ended."""
    run = here.submit(SPEC, name="pickled")
    train()
    return run.wait(progress=False)


def test_a_child_process_reads_what_a_run_recorded(here: Lab, run: Run, address: Any) -> None:
    assert address.token.encode() not in pickle.dumps([here, run, run.gradients])
    # A multiprocessing.Pool can hang in `terminate`, where it reads from its own queue; an executor ends its process.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        (costs,) = pool.map(operator.attrgetter("costs"), [run])
        (gradient,) = pool.map(operator.methodcaller("gradient", 7), [run])
        (name,) = pool.map(operator.methodcaller("run", run.id), [here])
    np.testing.assert_array_equal(costs, run.costs)
    np.testing.assert_array_equal(gradient["dense1.weight"], run.gradient(7)["dense1.weight"])
    assert (name.id, name.view) == (run.id, run.view)


def test_studies_and_slices_can_be_pickled(here: Lab, run: Run, train: Callable[[], None]) -> None:
    study = here.compare(problem="quadratic", optimizers=["sgd"], seeds=2, steps=5)
    train()
    there = pickle.loads(pickle.dumps(study.wait(progress=False)))  # noqa: S301 - our own
    assert [one.id for one in there.runs] == [one.id for one in study.runs]
    slices = pickle.loads(pickle.dumps(run.gradients))  # noqa: S301 - our own
    np.testing.assert_array_equal(slices["dense1.weight"][:], run.gradients["dense1.weight"][:])
    # Of one pickle all share one wire, and one token.
    first, second = pickle.loads(pickle.dumps(here.runs(limit=2)))  # noqa: S301 - our own
    assert first._wire is second._wire


def test_a_token_that_was_only_an_argument_is_refused_and_not_shown(lab: Lab, address: Any) -> None:
    for thing in (lab, lab.submit(SPEC, seed=5)):
        with pytest.raises(InvalidSpec, match="set TALWEG_TOKEN or TALWEG_TOKEN_FILE") as caught:
            pickle.dumps(thing)
        assert address.token not in str(caught.value)
    assert address.token not in repr(lab._wire.address)


def test_a_copy_works_after_the_original_is_closed(here: Lab, run: Run) -> None:
    for copied in (copy.copy(here), copy.deepcopy(here)):
        assert copied.run(run.id).name == "pickled"
        here.close()
        assert copied._wire is not here._wire
        assert copied.run(run.id).name == "pickled"
        copied.close()
    for twin in (copy.copy(run), copy.deepcopy(run)):
        assert twin._wire is not run._wire
        twin._wire.close()
        np.testing.assert_array_equal(run.costs, twin.costs)
        twin._wire.close()
    # Whoever asks after a close has a connection again.
    assert here.run(run.id).view == run.view
    here.close()


def test_two_processes_share_no_connection(address: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with Wire(address.url, address.token) as wire:
        parents = wire._opened()
        assert wire._opened() is parents
        monkeypatch.setattr(os, "getpid", lambda: -1)
        assert wire._opened() is not parents
        parents.close()
