"""A run trained on SQLite, for what is drawn and written of it."""

from collections.abc import Callable, Iterator

import pytest

from talweg.execution import submit_run, train
from talweg.settings import Settings
from talweg.spec import parse_run
from talweg.store import RunRow, Store, open_store

Train = Callable[..., RunRow]


@pytest.fixture
def local(sqlite_url: str) -> Iterator[Store]:
    """An empty laboratory on SQLite."""
    with open_store(sqlite_url) as opened:
        yield opened


@pytest.fixture
def trained(local: Store) -> Train:
    """Submit a run and train it to its end."""

    def train_it(**spec: object) -> RunRow:
        settings = Settings().model_copy(update={"workers": 1})
        run = submit_run(local, parse_run({"steps": 20} | spec), publish=lambda _: None, settings=settings)
        train(local, run.cohort_id, owner="test", settings=settings)
        return local.run(run.id)

    return train_it
