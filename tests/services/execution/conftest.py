"""Submitting and training in this process, without a broker."""

from collections.abc import Callable

import pytest

from talweg.execution import submit_run, submit_study, train
from talweg.settings import Settings
from talweg.spec import RunSpec, StudySpec
from talweg.store import RunRow, Store, StudyRow


def _publish_nothing(_: str) -> None: ...


@pytest.fixture
def settings() -> Settings:
    """One worker with frequent commits."""
    return Settings().model_copy(update={"workers": 1, "commit_seconds": 0.02})


@pytest.fixture
def submit(store: Store, settings: Settings) -> Callable[[RunSpec], RunRow]:
    """Submit a run without publishing it."""
    return lambda spec: submit_run(store, spec, publish=_publish_nothing, settings=settings)


@pytest.fixture
def submitted_study(store: Store, settings: Settings) -> Callable[[StudySpec], StudyRow]:
    """Submit a study without publishing it."""
    return lambda spec: submit_study(store, spec, publish=_publish_nothing, settings=settings)


@pytest.fixture
def trained(store: Store, settings: Settings, submit: Callable[[RunSpec], RunRow]) -> Callable[[RunSpec], RunRow]:
    """Submit a run and train it to its end."""

    def to_the_end(spec: RunSpec) -> RunRow:
        run = submit(spec)
        assert train(store, run.cohort_id, owner="test", settings=settings) == "finished"
        return store.run(run.id)

    return to_the_end
