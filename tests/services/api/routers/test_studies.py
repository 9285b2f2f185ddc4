"""Studies over HTTP: submitted, counted, ranked, drawn."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from talweg.store import Store

SPEC: dict[str, Any] = {
    "problem": "wine-mlp",
    "optimizers": ["sgd", {"name": "adam", "learning_rate": 0.01}],
    "seeds": 3,
    "steps": 30,
    "evaluate_every": 10,
    "name": "wine <img src=x onerror=alert(1)>",
}


@pytest.fixture(scope="module")
def study(http: httpx2.Client, train: Callable[[], None]) -> dict[str, Any]:
    """The answer to a submitted study, which is then trained."""
    response = http.post("/v1/studies", json=SPEC)
    assert response.status_code == 201, response.text
    train()
    view: dict[str, Any] = response.json()
    return view


def test_a_study_is_stored_whole_and_counted(http: httpx2.Client, study: dict[str, Any], store: Store) -> None:
    assert (study["state"], study["runs"], study["counts"]) == ("queued", 6, {"queued": 6})
    assert (study["steps_done"], study["steps_total"]) == (0, 180)
    after = http.get(f"/v1/studies/{study['id']}").json()
    assert (after["state"], after["counts"], after["steps_done"]) == ("finished", {"finished": 6}, 180)
    assert [view["id"] for view in http.get("/v1/studies").json()["items"]].count(study["id"]) == 1
    listed = http.get("/v1/runs", params={"study": study["id"]}).json()["items"]
    assert {view["id"] for view in listed} == {row.id for row in store.runs_of(study["id"])}


def test_a_study_has_a_ranking(http: httpx2.Client, study: dict[str, Any]) -> None:
    answer = http.get(f"/v1/studies/{study['id']}/ranking").json()
    assert (answer["ranked_by"], answer["metric"]) == ("validation_cost", "accuracy")
    rows = answer["rows"]
    assert {row["optimizer"]["name"] for row in rows} == {"sgd", "adam"}
    assert [row["rank"] for row in rows] == [1, 2]
    assert rows[0]["validation_cost"]["median"] <= rows[1]["validation_cost"]["median"]
    for row in rows:
        spread = row["final_cost"]
        assert spread["low"] <= spread["median"] <= spread["high"]
        assert (spread["count"], row["runs"], row["complete"], row["diverged"]) == (3, 3, 3, 0)


@pytest.mark.parametrize(
    ("kind", "media", "start"), [("png", "image/png", b"\x89PNG"), ("svg", "image/svg+xml", b"<?xml")]
)
def test_a_study_has_a_figure(http: httpx2.Client, study: dict[str, Any], kind: str, media: str, start: bytes) -> None:
    response = http.get(f"/v1/studies/{study['id']}/figure.{kind}")
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == media
    assert response.content.startswith(start)


def test_another_kind_of_figure_is_refused(http: httpx2.Client, study: dict[str, Any]) -> None:
    response = http.get(f"/v1/studies/{study['id']}/figure.gif")
    assert response.status_code == 422
    assert "gif" in response.json()["detail"]


def test_a_report_is_one_page_in_which_names_stay_text(http: httpx2.Client, study: dict[str, Any]) -> None:
    response = http.get(f"/v1/studies/{study['id']}/report.html")
    assert response.headers["content-type"].startswith("text/html")
    assert "<img src=x" not in response.text
    assert "&lt;img src=x" in response.text
    assert "adam" in response.text


def test_a_study_that_has_not_started_has_a_ranking_and_a_figure(http: httpx2.Client) -> None:
    study = http.post("/v1/studies", json=SPEC | {"name": "waiting", "seeds": 2}).json()["id"]
    rows = http.get(f"/v1/studies/{study}/ranking").json()["rows"]
    assert all(row["final_cost"] is None for row in rows)
    assert http.get(f"/v1/studies/{study}/figure.png").status_code == 200
    view = http.post(f"/v1/studies/{study}/cancel", json={}).json()
    assert (view["state"], view["counts"]) == ("cancelled", {"cancelled": 4})


def test_an_unknown_study_is_not_found(http: httpx2.Client) -> None:
    for path in ("", "/ranking", "/figure.png", "/report.html"):
        response = http.get(f"/v1/studies/none{path}")
        assert (response.status_code, response.json()["code"]) == (404, "not-found")
    assert http.get("/v1/runs", params={"study": "none"}).status_code == 404


def test_a_repeated_key_gives_the_first_study(http: httpx2.Client) -> None:
    headers = {"Idempotency-Key": "a-study-sent-twice"}
    spec = SPEC | {"name": None}
    answers = [http.post("/v1/studies", json=spec, headers=headers).json()["id"] for _ in range(2)]
    assert answers[0] == answers[1]
    other = http.post("/v1/studies", json=spec | {"seeds": 1}, headers=headers)
    assert other.status_code == 409


def test_the_report_of_a_test_function_shows_the_paths_over_it(http: httpx2.Client, train: Callable[[], None]) -> None:
    spec = {"problem": "rosenbrock", "optimizers": ["sgd", "adam"], "seeds": 2, "steps": 20}
    study = http.post("/v1/studies", json=spec).json()["id"]
    train()
    text = http.get(f"/v1/studies/{study}/report.html").text
    assert "the seed changes nothing" in text
    assert "contours of the cost" in text
