"""A run's progress as server-sent events."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx2

from talweg.api.routers import runs

RUN = {"problem": "quadratic", "optimizer": "sgd", "steps": 40}


def events_of(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name and the data of each event."""
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_progress_comes_until_the_end(http: httpx2.Client, train: Callable[[], None]) -> None:
    run = http.post("/v1/runs", json=RUN).json()
    with http.stream("GET", f"/v1/runs/{run['id']}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        coming = events_of(answer.iter_lines())
        name, first = next(coming)
        assert (name, first["state"], first["step"], first["steps"]) == ("progress", "queued", 0, 40)
        worker = threading.Thread(target=train)
        worker.start()
        rest = list(coming)
        worker.join()
    assert [name for name, _ in rest].count("end") == 1
    name, last = rest[-1]
    assert (name, last["state"], last["step"]) == ("end", "finished", 40)
    assert last["cost"] == http.get(f"/v1/runs/{run['id']}").json()["cost"]


def test_readers_are_limited_and_their_slots_return(http: httpx2.Client, train: Callable[[], None]) -> None:
    run = http.post("/v1/runs", json=RUN).json()
    train()
    held = [runs._readers.acquire(blocking=False) for _ in range(runs.MAXIMUM_READERS)]
    try:
        assert all(held)
        assert http.get(f"/v1/runs/{run['id']}/events").status_code == 429
    finally:
        for _ in held:
            runs._readers.release()
    for _ in range(runs.MAXIMUM_READERS + 1):
        assert "event: end" in http.get(f"/v1/runs/{run['id']}/events").text
    assert http.get("/v1/runs/unknown/events").status_code == 404
