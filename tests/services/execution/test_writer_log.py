"""Each run that ends is logged in one line, with its cohort, its end, its steps and its time."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from talweg.execution import reconcile, train
from talweg.execution.writer import log_failed
from talweg.settings import Settings
from talweg.spec import RunSpec, StudySpec
from talweg.store import RunRow, Store, StudyRow


def _publish_nothing(_: str) -> None: ...


def _ended(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    lines = [json.loads(record.getMessage()) for record in caplog.records if "run ended" in record.getMessage()]
    return sorted(lines, key=lambda line: str(line["run"]))


def test_every_run_of_a_cohort_that_ends_has_a_line(
    store: Store,
    submitted_study: Callable[[StudySpec], StudyRow],
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = {"problem": "wine-mlp", "optimizers": ["adam"], "seeds": 3, "steps": 40}
    runs = store.runs_of(submitted_study(StudySpec.model_validate(asked)).id)
    with caplog.at_level(logging.INFO):
        assert train(store, runs[0].cohort_id, owner="test", settings=settings) == "finished"
    runs = store.runs_of(str(runs[0].study_id))
    assert [(line["run"], line["cohort"]) for line in _ended(caplog)] == [(run.id, run.cohort_id) for run in runs]
    for line, run in zip(_ended(caplog), runs, strict=True):
        assert (line["state"], line["reason"], line["steps"]) == ("finished", "finished", 40)
        assert line["seconds"] == pytest.approx(run.trained_seconds, abs=1e-6)
        assert line["seconds"] > 0


def test_a_failed_run_has_a_line_from_worker_and_reconciler(
    store: Store,
    submit: Callable[[RunSpec], RunRow],
    spec: Callable[..., RunSpec],
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("broken")

    once = settings.model_copy(update={"max_attempts": 1})
    raised, vanished = submit(spec()), submit(spec(seed=1))
    monkeypatch.setattr("talweg.execution.training._resumed", broken)
    with caplog.at_level(logging.INFO):
        assert train(store, raised.cohort_id, owner="test", settings=once) == "quarantined"
        assert store.claim(vanished.cohort_id, "a worker that vanishes", -1.0) is not None
        assert reconcile(store, _publish_nothing, settings=once).given_up == (vanished.cohort_id,)
        log_failed(store, vanished.cohort_id)
    assert [(line["run"], line["state"], line["reason"], line["steps"]) for line in _ended(caplog)] == sorted(
        (run.id, "failed", "failed", 0) for run in (raised, vanished)
    )
