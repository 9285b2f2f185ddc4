"""Health, status, catalogue and OpenAPI document over HTTP."""

import re

import httpx2
from sqlalchemy import text

import talweg
from talweg.store import Store
from talweg_core import optimizers, problems, schedules


def test_it_is_alive_and_ready(stranger: httpx2.Client) -> None:
    assert stranger.get("/healthz").json() == {"status": "alive"}
    ready = {"status": "ready", "database": "answers", "migrations": "current", "broker": "away"}
    assert stranger.get("/readyz").json() == ready


def test_status_has_versions_and_queue(http: httpx2.Client) -> None:
    status = http.get("/v1/status").json()
    assert status["version"] == talweg.__version__
    assert status["mlflow_url"] == "http://127.0.0.1:5055"
    # These tests set no broker: the status works without one.
    assert status["queue_depth"] is None
    assert status["workers_busy"] == 0
    # Nothing is mirrored in these tests: every run waits.
    assert status["mirror"]["waiting"] == status["mirror"]["runs"]
    assert "numpy" in status["numerics"]


def test_the_catalogue_holds_everything_with_its_defaults(http: httpx2.Client) -> None:
    rows = http.get("/v1/problems").json()
    assert [row["name"] for row in rows] == problems.names()
    rules = {row["name"]: row for row in http.get("/v1/optimizers").json()}
    assert sorted(rules) == optimizers.names()
    assert rules["adam"]["settings"].items() >= optimizers.create("adam").settings().items()
    assert all(row["description"] for row in [*rows, *rules.values()])


def test_the_catalogue_says_family_state_evaluations_paper_and_ranges(http: httpx2.Client) -> None:
    rules = {row["name"]: row for row in http.get("/v1/optimizers").json()}
    adam = rules["adam"]
    assert (adam["family"], adam["memory"], adam["evaluations"]) == ("per coordinate", "2 P", "1 gradient")
    assert (adam["state"], adam["paper"]) == (["m", "v"], "Kingma & Ba 2015")
    assert adam["ranges"] == {
        "learning_rate": "(0, ∞)",
        "beta1": "[0, 1)",
        "beta2": "[0, 1)",
        "epsilon": "[0, ∞)",
    }
    for described in optimizers.catalogue().descriptions():
        assert optimizers.Description.read(rules[described.name]) == described


def test_the_catalogue_has_the_schedules(http: httpx2.Client) -> None:
    rows = {row["name"]: row for row in http.get("/v1/schedules").json()}
    assert sorted(rows) == schedules.names()
    assert rows["cosine"]["settings"] == {"steps": None, "end": 0.0, "start": 1.0}
    assert rows["cosine"]["ranges"] == {"steps": "whole numbers in [1, ∞)", "end": "[0, 1]", "start": "[0, 1]"}


def test_the_document_describes_every_route_and_its_errors(http: httpx2.Client) -> None:
    document = http.get("/v1/openapi.json").json()
    assert "/v1/runs" in document["paths"]
    post = document["paths"]["/v1/runs"]["post"]
    assert post["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/RunSpec")
    assert "optimizer" in document["components"]["schemas"]["RunSpec"]["properties"]
    assert document["security"] == [{"token": []}]
    assert {"201", "401", "403", "409", "415", "422"} <= set(post["responses"])
    # Every reference must have a target.
    for reference in re.findall(r'"#/(?:components/schemas|\$defs)/(\w+)"', http.get("/v1/openapi.json").text):
        assert reference in document["components"]["schemas"], reference


def test_another_schema_is_not_ready_without_details(stranger: httpx2.Client, store: Store) -> None:
    def revise(revision: str) -> str:
        with store.engine.begin() as connection:
            before = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
            connection.execute(text("UPDATE alembic_version SET version_num = :new"), {"new": revision})
            return str(before)

    before = revise("0000")
    try:
        answer = stranger.get("/readyz")
    finally:
        revise(before)
    assert answer.status_code == 503
    assert answer.json()["detail"] == "not ready (error)"
    assert stranger.get("/readyz").status_code == 200
