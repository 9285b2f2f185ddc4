"""The metrics page, and the cached state of the broker."""

import re
from collections.abc import Callable, Iterator

import httpx2
import pytest

from talweg.api.dependencies import Broker, Metrics
from talweg.errors import Unreachable
from talweg.store import Store

RUN = {"problem": "quadratic", "optimizer": "sgd", "steps": 40}


def values(page: str) -> dict[str, float]:
    """Each line of the text format."""
    lines = [line for line in page.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def samples(page: str) -> dict[str, float]:
    """Each line of the text format, which has a type for every name."""
    found = values(page)
    typed = set(re.findall(r"^# TYPE (\S+) (?:gauge|counter)$", page, re.MULTILINE))
    assert {name.partition("{")[0] for name in found} == typed
    return found


def test_metrics_count_finished_and_waiting_work(
    http: httpx2.Client, stranger: httpx2.Client, store: Store, train: Callable[[], None]
) -> None:
    assert stranger.get("/metrics").status_code == 401
    train()
    before = values(Metrics(store, lambda: 7).text())
    for _ in range(3):
        http.post("/v1/runs", json=RUN)
    train()
    http.post("/v1/runs", json=RUN)
    found = samples(Metrics(store, lambda: 7).text())
    new = {name: value - before.get(name, 0) for name, value in found.items()}
    assert new['talweg_runs{state="finished"}'] == 3
    assert new['talweg_runs{state="queued"}'] == 1
    assert found['talweg_runs{state="queued"}'] == 1
    assert found['talweg_runs{state="failed"}'] == 0
    assert new["talweg_steps_total"] == 120
    assert new["talweg_mirror_steps"] == 120
    assert new["talweg_mirror_runs"] == 4
    assert found["talweg_mirror_lag_seconds"] >= 0
    assert found["talweg_leases_lost_total"] == 0
    assert (found["talweg_broker_up"], found["talweg_queue_depth"]) == (1, 7)
    served = http.get("/metrics")
    assert served.headers["content-type"].startswith("text/plain; version=0.0.4")
    # No broker is set in these tests.
    assert samples(served.text)["talweg_broker_up"] == 0
    assert "talweg_queue_depth" not in samples(served.text)


def test_metrics_are_kept_for_a_second(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = [0.0], list[float]()

    def depth() -> None:
        asked.append(now[0])

    metrics = Metrics(store, depth, lambda: now[0])
    for moment in (0.0, 0.5, 0.9, 1.0, 1.1):
        now[0] = moment
        metrics.text()
    assert asked == [0.0, 1.0]


def test_the_brokers_answer_is_kept_and_may_be_missing() -> None:
    now = [0.0]
    answers: Iterator[int | Unreachable] = iter([3, Unreachable("away"), 5])

    def ask() -> int:
        answer = next(answers)
        if isinstance(answer, Unreachable):
            raise answer
        return answer

    broker = Broker(ask, lambda: now[0])
    assert [broker.depth(), broker.depth(), broker.answers()] == [3, 3, True]
    now[0] = 2.0
    assert [broker.depth(), broker.answers()] == [None, False]
    now[0] = 4.0
    assert broker.depth() == 5
