"""Submissions: all or nothing, once for each key."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from talweg.errors import Conflict, InvalidSpec, NotFound
from talweg.store import NewCohort, Store, open_store


def test_what_was_submitted_is_found_whole(store: Store, new_work: Callable[..., Any]) -> None:
    work = new_work(2, study="Über alles · 比較")
    answer = store.submit(work.study, work.runs, work.cohorts)
    assert answer.run_ids == tuple(run.id for run in work.runs)
    for made in work.runs:
        run = store.run(made.id)
        for name, value in vars(made).items():
            assert getattr(run, name) == value
        assert (run.state, run.step, run.cost, run.ended) == ("queued", 0, None, False)
        assert abs(run.created_at - datetime.now(UTC)) < timedelta(minutes=5)
        assert run == store.run(made.name)
    study = store.study(work.study.name)
    assert (study.spec, study.state, study.counts) == (work.study.spec, "queued", {"queued": 2})
    assert (study.steps_done, study.steps_total) == (0, 20)
    assert store.cohort(work.cohort).state == "queued"


def test_keys_of_a_spec_keep_their_order(store: Store, submitted: Callable[..., Any]) -> None:
    spec = {"z": 1, "a": {"y": 0.1, "b": None}, "m": [1e-8, True]}
    work = submitted(1, spec=spec)
    assert repr(store.run(work.runs[0].id).spec) == repr(spec)


def test_the_same_key_gives_the_first_answer(store: Store, new_work: Callable[..., Any]) -> None:
    first, again = new_work(study="one"), new_work(study="one")
    answer = store.submit(first.study, first.runs, first.cohorts, "key")
    repeated = store.submit(again.study, again.runs, again.cohorts, "key")
    assert repeated == replace(answer, repeated=True)
    assert len(store.runs().items) == 2


def test_a_key_cannot_stand_for_something_else(store: Store, new_work: Callable[..., Any]) -> None:
    first, other = new_work(2), new_work(3)
    store.submit(None, first.runs, first.cohorts, "key")
    with pytest.raises(Conflict, match="'key': was used for another"):
        store.submit(None, other.runs, other.cohorts, "key")
    assert len(store.runs().items) == 2


def test_many_at_once_with_one_key_make_one(store: Store, new_work: Callable[..., Any]) -> None:
    def submit(_: int) -> tuple[str, ...]:
        work = new_work(study="raced")
        return store.submit(work.study, work.runs, work.cohorts, "key").run_ids

    with ThreadPoolExecutor(6) as threads:
        answers = set(threads.map(submit, range(12)))
    assert len(answers) == 1
    assert {run.id for run in store.runs().items} == set(answers.pop())


@pytest.mark.parametrize("key", ["", "a\x00b", "\ud800", "k" * 201])
def test_keys_that_cannot_be_stored_are_refused(store: Store, new_work: Callable[..., Any], key: str) -> None:
    work = new_work()
    with pytest.raises(InvalidSpec, match="Idempotency-Key"):
        store.submit(None, work.runs, work.cohorts, key)


def test_a_name_that_is_taken_leaves_nothing_half_written(store: Store, new_work: Callable[..., Any]) -> None:
    first, second = new_work(study="mine"), new_work(study="mine")
    store.submit(first.study, first.runs, first.cohorts, "key 1")
    with pytest.raises(Conflict, match="study mine: the name is taken"):
        store.submit(second.study, second.runs, second.cohorts, "key 2")
    third = new_work(study="other", name=first.runs[0].name)
    with pytest.raises(Conflict, match=f"run {first.runs[0].name}: the name is taken"):
        store.submit(third.study, third.runs[:1], third.cohorts, "key 2")
    assert len(store.runs().items) == 2
    assert [study.name for study in store.studies().items] == ["mine"]
    assert store.cohort_counts() == {"queued": 1}
    # The key of the failed attempt is free: the client may try again under it.
    fourth = new_work(study="fourth")
    assert not store.submit(fourth.study, fourth.runs, fourth.cohorts, "key 2").repeated


def test_two_runs_of_one_name_are_refused(store: Store, new_work: Callable[..., Any]) -> None:
    work = new_work(2, name="twice")
    with pytest.raises(Conflict, match="each name must differ"):
        store.submit(None, work.runs, work.cohorts)


def test_racing_for_a_name_one_wins(store: Store, new_work: Callable[..., Any]) -> None:
    def submit(_: int) -> bool:
        work = new_work(study="wanted")
        try:
            store.submit(work.study, work.runs, work.cohorts)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(submit, range(12))) == 1


@pytest.mark.parametrize("name", ["", "none", "\x00", "\ud800", "../../etc", "' OR 1=1 --", "x" * 100_000])
def test_what_is_not_there_is_not_found(store: Store, name: str) -> None:
    for find in (store.run, store.study, store.cohort):
        with pytest.raises(NotFound, match=" has the id"):
            find(name)
    assert store.claim(name, "worker", 1.0) is None


def test_an_id_comes_before_a_name(store: Store, submitted: Callable[..., Any]) -> None:
    first = submitted(1)
    second = submitted(1, name=first.runs[0].id)
    assert store.run(first.runs[0].id).id == first.runs[0].id
    assert second.runs[0].id != first.runs[0].id


def test_a_run_needs_a_cohort(store: Store, new_work: Callable[..., Any]) -> None:
    work = new_work(1)
    with pytest.raises(IntegrityError):
        store.submit(None, work.runs, [NewCohort("another")])
    assert store.runs().items == []


def test_processes_see_each_other(store: Store, database_url: str, submitted: Callable[..., Any]) -> None:
    work = submitted(1)
    with open_store(database_url) as other:
        assert other.run(work.runs[0].id) == store.run(work.runs[0].id)
