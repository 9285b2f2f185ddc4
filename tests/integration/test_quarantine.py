"""A cohort that kills its workers is quarantined after its attempts, and no other cohort fails."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from talweg.spec import RunSpec
from talweg_core import problems

if TYPE_CHECKING:
    from tests.integration.conftest import Stack

Eventually = Callable[..., None]

SHORT = RunSpec.model_validate({"problem": "wine-mlp", "optimizer": "adam", "steps": 50})
# Leases long enough for a busy machine: a healthy worker must not seem to vanish.
FEW = {"max_attempts": 2, "lease_seconds": 6.0}
# A problem as an installed package would add it. It kills only processes with its variable set; this one submits it.
PLUG_IN = '''
import os, signal
from talweg_core.problems.quadratic import quadratic
from talweg_core.problems.surface import SurfaceProblem

class Poison(SurfaceProblem):
    def bind(self, *buffers):
        if os.environ.get("POISONOUS"):
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().bind(*buffers)

def create(start: list[float] | None = None):
    """Ends the process that trains it, as broken native code would."""
    import numpy as np
    return Poison("poison", quadratic, start or [1.0], constants=(np.ones(1),), minimiser=[0.0])
'''
ENTRY_POINTS = "[talweg.problems]\npoison = poison:create\n"


@pytest.fixture
def _poison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The plug-in, installed for this process and those that it starts."""
    site = tmp_path / "site"
    (site / "poison-1.0.dist-info").mkdir(parents=True)
    (site / "poison.py").write_text(PLUG_IN)
    (site / "poison-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: poison\nVersion: 1.0\n")
    (site / "poison-1.0.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site))
    # Found once by each process; this one may have looked before.
    problems._installed.cache_clear()
    yield
    problems._installed.cache_clear()


@pytest.mark.usefixtures("_poison")
def test_a_poison_cohort_is_quarantined_while_twenty_others_finish(
    stack: "Stack", eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = stack.submit(RunSpec.model_validate({"problem": "poison", "optimizer": "sgd", "steps": 5}))
    others = [stack.submit(SHORT.model_copy(update={"seed": seed})) for seed in range(20)]
    monkeypatch.setenv("POISONOUS", "1")
    stack.start_reconciler(**FEW)
    workers = [stack.start_worker(**FEW), stack.start_worker(**FEW)]

    def all_over() -> bool:
        # What a supervisor does.
        for number, worker in enumerate(workers):
            if worker.process.poll() is not None:
                workers[number] = stack.start_worker(**FEW)
        return all(stack.store.run(run.id).ended for run in [poison, *others])

    try:
        # Each death takes a lease and the start of another worker, which a busy machine makes long.
        eventually(all_over, "every run to end", seconds=500.0)
    except pytest.fail.Exception:
        print(stack.logs())  # noqa: T201 - shown by pytest with the failure
        raise
    assert [stack.store.run(run.id).error for run in others] == [None] * 20
    assert {stack.store.run(run.id).state for run in others} == {"finished"}
    failed, cohort = stack.store.run(poison.id), stack.store.cohort(poison.cohort_id)
    assert (failed.state, failed.step) == ("failed", 0)
    assert (cohort.state, cohort.attempts) == ("quarantined", FEW["max_attempts"])
    assert "the worker vanished" in str(failed.error)
