"""Runs of libraries' optimizers through the laboratory: submitted, interrupted, resumed, and read from the record."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talweg.execution import submit_run, train
from talweg.records import records
from talweg.settings import Settings, settings
from talweg.spec import parse_run
from talweg.store import RunRow, Store, open_store
from talweg_core import problems
from talweg_core.layout import Array, Layout

STEPS = 200
PROBLEM = "wine-mlp"


def layout() -> Layout:
    """The tensors of the problem."""
    return problems.create(PROBLEM).layout


@dataclass(frozen=True)
class Laboratory:
    """A store, in which this process trains."""

    store: Store
    settings: Settings

    def train(self, optimizer: dict[str, Any], *, interrupted: int = 0, **spec: Any) -> RunRow:
        """A run trained to its end; first a worker leaves it after `interrupted` steps."""
        asked = {"problem": PROBLEM, "optimizer": optimizer, "steps": STEPS, "record": "full", "evaluate_every": 0}
        run = submit_run(self.store, parse_run(asked | spec), publish=lambda _: None, settings=self.settings)
        self.go_on(run, interrupted)
        return self.store.run(run.id)

    def go_on(self, run: RunRow, interrupted: int = 0) -> None:
        """Train a queued run to its end."""
        if interrupted:
            left = iter([False] * interrupted)
            ended = train(
                self.store, run.cohort_id, owner="test", settings=self.settings, leave=lambda: next(left, True)
            )
            assert ended == "released"
        assert train(self.store, run.cohort_id, owner="test", settings=self.settings) == "finished"

    def recorded(self, run: RunRow) -> tuple[Array, Array, Array]:
        """Costs (n,), gradients (n, P) and parameters (n + 1, P) of a run."""
        costs = self.store.steps(run.id, 0, run.step).cost
        gradients = records(self.store, run, "gradient", 0, run.step)
        return costs, gradients, records(self.store, run, "parameters", 0, run.step + 1)


@pytest.fixture
def laboratory(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Laboratory]:
    """An empty local laboratory."""
    (tmp_path / "rules").mkdir()
    monkeypatch.setenv("TALWEG_RULES", str(tmp_path / "rules"))
    settings.cache_clear()
    with open_store(sqlite_url) as store:
        yield Laboratory(store, settings().model_copy(update={"workers": 1, "commit_seconds": 0.02}))
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def same_bits() -> Callable[[Array, Array], bool]:
    """Whether two arrays are equal in dtype, shape and every bit."""
    return lambda one, other: (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


def flat(tensors: list[Any]) -> Array:
    """Tensors as one vector (P,)."""
    return np.concatenate([np.asarray(tensor).ravel() for tensor in tensors])
