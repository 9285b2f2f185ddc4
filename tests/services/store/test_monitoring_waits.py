"""What unfinished work waits for, read from the database."""

from collections.abc import Callable

import pytest

from talweg.errors import NotFound, Unreachable
from talweg.execution import submit_run, submit_study
from talweg.settings import Settings
from talweg.spec import RunSpec, StudySpec
from talweg.store import RunRow, Store, Waits


def submitted(store: Store, seed: int = 0, publish: Callable[[str], None] = lambda _: None) -> RunRow:
    spec = {"problem": "quadratic", "optimizer": {"name": "sgd"}, "steps": 5, "seed": seed}
    return submit_run(store, RunSpec.model_validate(spec), publish=publish, settings=Settings())


def refuse(_: str) -> None:
    raise Unreachable("broker: unreachable")


def test_the_store_reports_what_a_run_waits_for(store: Store) -> None:
    first, second = submitted(store), submitted(store, 1, refuse)
    assert store.waits(first.id) == Waits(queued=1)
    assert store.waits(second.id) == Waits(queued=1, unpublished=1, ahead=1)
    store.request_pause([second.id])
    assert store.waits(second.id) == Waits(paused=1)
    claim = store.claim(first.cohort_id, "host:7", 60.0)
    assert claim is not None
    assert store.waits(first.id) == Waits(held=1, working=1)
    store.release(claim, "database: disk is full")
    assert store.waits(first.id).stopped == "database: disk is full"
    assert store.claim(first.cohort_id, "host:8", -5.0) is not None
    waits = store.waits(first.id)
    assert (waits.held, waits.silent) == (0, "host:8")
    assert waits.silent_seconds >= 5.0
    store.request_cancel([second.id])
    assert store.waits(second.id) == Waits()
    study = submit_study(
        store,
        StudySpec.model_validate({"problem": "quadratic", "optimizers": [{"name": "sgd"}], "seeds": 2, "steps": 5}),
        publish=lambda _: None,
        settings=Settings(workers=2),
    )
    assert store.waits(study=study.name).queued == 2
    with pytest.raises(NotFound):
        store.waits(study="nobody")
