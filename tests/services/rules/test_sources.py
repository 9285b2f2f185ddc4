"""Users' own optimizers in a laboratory: stored once, loaded from SQL, replayed after the file changed, and refused."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from talweg import rules
from talweg.datasets.sources import serve
from talweg.errors import CorruptRecord, InvalidSpec
from talweg.execution import fork_run, resume_run, submit_run, train
from talweg.records import from_spec, gradient, verify
from talweg.rules import sources
from talweg.settings import Settings, settings
from talweg.spec import ForkSpec, OptimizerSpec, parse_run
from talweg.store import RunRow, Store, open_store
from talweg_core.optimizers.source import digest_of, name_of

SOURCE = """from talweg_core.optimizers import CoordinateOptimizer

class Mine(CoordinateOptimizer):
    state = ("m",)
    learning_rate: float = 0.01
    beta: float = 0.9

    def rule(gradient, m, learning_rate, beta):
        m = beta * m + (1 - beta) * gradient
        return -learning_rate * m, m
"""
LOOPS = SOURCE.replace(
    "        m = beta", "        while gradient == gradient:\n            beta += 1\n        m = beta"
)


@dataclass(frozen=True)
class Laboratory:
    """A local laboratory: its store, and the folder into which clients put sources."""

    store: Store
    settings: Settings

    def put(self, source: str) -> str:
        """Put a source into the folder as a client does; returns its name."""
        assert self.settings.rules is not None
        (self.settings.rules / f"{name_of(source)}.py").write_text(source)
        return name_of(source)

    def train(self, source: str, **spec: object) -> RunRow:
        """Train a run of this rule to its end."""
        asked = {"problem": "wine-mlp", "steps": 40, "optimizer": self.put(source), "record": "replay"} | spec
        run = submit_run(self.store, parse_run(asked), publish=lambda _: None, settings=self.settings)
        train(self.store, run.cohort_id, owner="test", settings=self.settings)
        return self.store.run(run.id)


def forget() -> None:
    """Forget what another process would not have: classes, and the settings that were read."""
    sources.stored.cache_clear()
    from_spec._optimizer.cache_clear()
    settings.cache_clear()


@contextmanager
def opened(store: Store, folder: Path) -> Iterator[Laboratory]:
    """The laboratory of that store, with a folder for sources."""
    folder.mkdir()
    serve(store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TALWEG_RULES", str(folder))
        forget()
        yield Laboratory(store, settings().model_copy(update={"workers": 1}))
    forget()


@pytest.fixture
def local(sqlite_url: str, tmp_path: Path) -> Iterator[Laboratory]:
    """A local laboratory on SQLite."""
    with open_store(sqlite_url) as store, opened(store, tmp_path / "rules") as laboratory:
        yield laboratory


def test_a_run_is_replayed_forked_resumed_and_verified_after_its_file_has_changed(
    store: Store, tmp_path: Path, same_bits: Callable[[object, object], bool]
) -> None:
    with opened(store, tmp_path / "rules") as local:
        _replay_fork_and_resume(local, same_bits)


def _replay_fork_and_resume(local: Laboratory, same_bits: Callable[[object, object], bool]) -> None:
    run = local.train(SOURCE)
    assert run.optimizer == name_of(SOURCE)
    changed = SOURCE.replace("-learning_rate * m,", "learning_rate * m,")
    other = local.train(changed)
    assert other.optimizer != run.optimizer
    assert other.cost is not None
    assert run.cost is not None
    assert other.cost > 1.5 * run.cost
    for path in local.settings.rules.iterdir() if local.settings.rules else ():
        path.unlink()
    forget()
    assert verify(local.store, run).agrees
    resumed = resume_run(local.store, run, 60, publish=lambda _: None)
    train(local.store, resumed.cohort_id, owner="test", settings=local.settings)
    fork = fork_run(
        local.store,
        local.store.run(run.id),
        ForkSpec(step=20, steps=60),
        publish=lambda _: None,
        settings=local.settings,
    )
    train(local.store, fork.cohort_id, owner="test", settings=local.settings)
    for step in (25, 45, 59):
        one, two = (gradient(local.store, local.store.run(each.id), step) for each in (resumed, fork))
        assert same_bits(one, two)
    whole = local.store.run(resumed.id)
    assert (whole.step, whole.state) == (60, "finished")
    assert np.isfinite(whole.cost or np.nan)


def test_a_shared_laboratory_takes_no_source(local: Laboratory) -> None:
    name = local.put(SOURCE)
    shared = local.settings.model_copy(update={"rules": None})
    with pytest.raises(InvalidSpec, match="a shared laboratory takes no source code; an administrator installs") as no:
        submit_run(local.store, parse_run({"problem": "wine-mlp", "optimizer": name}), settings=shared)
    assert name in str(no.value)
    assert local.store.rule_names() == []


def test_a_shared_laboratory_s_worker_loads_no_source_that_is_in_its_database(
    local: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = local.train(SOURCE)
    monkeypatch.delenv("TALWEG_RULES")
    forget()
    with pytest.raises(InvalidSpec, match="a shared laboratory takes no source code"):
        rules.kind_of(run.optimizer)


@pytest.mark.parametrize("name", ["../mine@3f2a91", "mine@3f2a91", "mine@3f2a9", "@3f2a91", "mine@../../a"])
def test_a_name_without_a_source_is_refused(local: Laboratory, name: str) -> None:
    with pytest.raises(InvalidSpec, match=r"no source is stored for|must have no slash"):
        submit_run(local.store, parse_run({"problem": "wine-mlp", "optimizer": name}), settings=local.settings)


def test_a_name_is_no_path(local: Laboratory) -> None:
    assert local.settings.rules is not None
    outside = local.settings.rules.parent / f"{name_of(SOURCE)}.py"
    outside.write_text(SOURCE)
    name = f"../{name_of(SOURCE)}"
    with pytest.raises(InvalidSpec, match="no source is stored for"):
        rules.with_sources(local.store, [OptimizerSpec.model_construct(name=name)], local.settings.rules)


def test_a_source_of_another_name_is_refused(local: Laboratory) -> None:
    assert local.settings.rules is not None
    (local.settings.rules / "mine@000000.py").write_text(SOURCE)
    with pytest.raises(InvalidSpec, match=f"the source in mine@000000.py must have this name, got {name_of(SOURCE)}"):
        submit_run(local.store, parse_run({"problem": "wine-mlp", "optimizer": "mine@000000"}), settings=local.settings)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("class Mine", "class Adam", "adam is one of Talweg's own names; rename the class"),
        ("from talweg_core", "import not_installed_here\nfrom talweg_core", "No module named 'not_installed_here'"),
        ("def rule", "def role", "must define rule"),
    ],
)
def test_a_source_that_breaks_a_rule_is_refused_and_not_stored(
    local: Laboratory, old: str, new: str, message: str
) -> None:
    name = local.put(SOURCE.replace(old, new))
    with pytest.raises(InvalidSpec) as refused:
        submit_run(local.store, parse_run({"problem": "wine-mlp", "optimizer": name}), settings=local.settings)
    assert message in str(refused.value)
    assert local.store.rule_names() == []


def test_a_stored_source_that_was_changed_is_not_executed(local: Laboratory) -> None:
    local.store.add_rule("mine@000000", digest_of(SOURCE), SOURCE + "# changed")
    with pytest.raises(CorruptRecord, match="optimizer mine@000000: its source must have the digest"):
        rules.kind_of("mine@000000")


def test_a_rule_that_makes_nan_ends_its_run_alone(local: Laboratory) -> None:
    run = local.train(SOURCE.replace("-learning_rate * m,", "m / (m - m),"))
    assert (run.state, run.stop_reason, run.step) == ("finished", "diverged", 2)


WORKER = """
import sys
from talweg.execution import train
from talweg.settings import settings
from talweg.store import open_store

with open_store(sys.argv[1]) as store:
    train(store, sys.argv[2], owner="test", settings=settings())
"""


def test_a_step_that_never_ends_gives_up_its_run_and_its_process(
    local: Laboratory, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = local.put(LOOPS)
    run = submit_run(
        local.store,
        parse_run({"problem": "wine-mlp", "optimizer": name}),
        publish=lambda _: None,
        settings=local.settings,
    )
    monkeypatch.setenv("TALWEG_RULE_SECONDS", "1")
    monkeypatch.setenv("TALWEG_HEARTBEAT_SECONDS", "0.2")
    command = [sys.executable, "-c", WORKER, sqlite_url, run.cohort_id]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1, done.stderr
    ended = local.store.run(run.id)
    assert (ended.state, ended.stop_reason) == ("failed", "failed")
    assert ended.error == f"optimizer {name}: one step took longer than 1 s (TALWEG_RULE_SECONDS)"
