"""A cohort that ends its workers is given up after its attempts, and takes nobody with it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from talweg.spec import RunSpec

if TYPE_CHECKING:
    from tests.integration.conftest import Stack

Eventually = Callable[[Callable[[], bool], str], None]

SHORT = RunSpec.model_validate({"problem": "wine-mlp", "optimizer": "adam", "steps": 50})
# A problem as an installed package would add it. Only a process that is told so dies of it: this one submits it.
PLUG_IN = '''
import os, signal
from talweg_core.problems.quadratic import quadratic
from talweg_core.problems.surface import SurfaceProblem

class Poison(SurfaceProblem):
    def bind(self, *buffers):
        if os.environ.get("POISONOUS"):
            os.kill(os.getpid(), getattr(signal, self.settings()["by"]))
        return super().bind(*buffers)

def create(start: list[float] | None = None, by: str = "SIGSEGV"):
    """Ends the process that trains it: as broken native code would, or the kernel for want of memory."""
    import numpy as np
    return Poison("poison", quadratic, start or [1.0], constants=(np.ones(1),), minimiser=[0.0], settings={"by": by})
'''
ENTRY_POINTS = "[talweg.problems]\npoison = poison:create\n"


@pytest.fixture
def _poison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plug-in, installed for this process and those that it starts."""
    site = tmp_path / "site"
    (site / "poison-1.0.dist-info").mkdir(parents=True)
    (site / "poison.py").write_text(PLUG_IN)
    (site / "poison-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: poison\nVersion: 1.0\n")
    (site / "poison-1.0.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site))


@pytest.mark.usefixtures("_poison")
def test_a_poison_cohort_is_quarantined_while_twenty_others_finish(
    stack: "Stack", eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Segmentation fault, and what the kernel sends for want of memory.
    poisonous = [
        stack.submit(RunSpec.model_validate({"problem": {"name": "poison", "by": by}, "optimizer": "sgd", "steps": 5}))
        for by in ("SIGSEGV", "SIGKILL")
    ]
    others = [stack.submit(SHORT.model_copy(update={"seed": seed})) for seed in range(20)]
    monkeypatch.setenv("POISONOUS", "1")
    stack.start_reconciler()
    workers = [stack.start_worker(), stack.start_worker()]

    def all_over() -> bool:
        # What a supervisor does.
        for number, worker in enumerate(workers):
            if worker.process.poll() is not None:
                workers[number] = stack.start_worker()
        return all(stack.store.run(run.id).ended for run in [*poisonous, *others])

    eventually(all_over, "every run to end")
    assert {stack.store.run(run.id).state for run in others} == {"finished"}
    for run in poisonous:
        failed, cohort = stack.store.run(run.id), stack.store.cohort(run.cohort_id)
        assert (failed.state, failed.step) == ("failed", 0)
        assert (cohort.state, cohort.attempts) == ("quarantined", stack.settings.max_attempts)
        assert "the worker vanished" in str(failed.error)
