"""Input that breaks a rule is answered 422 with name, rule and value, and nothing is written."""

import json
from typing import Any

import httpx2
import pytest

from talweg.store import Store

GOOD: dict[str, Any] = {"problem": "digits-mlp", "optimizer": "adam", "steps": 5}
STUDY: dict[str, Any] = {"problem": "digits-mlp", "optimizers": ["sgd", "adam"], "seeds": 2, "steps": 5}

RUNS: list[tuple[dict[str, Any], list[str]]] = [
    ({"problem": "digit-mlp"}, ["problem", "digit-mlp", "did you mean 'digits-mlp'"]),
    ({"problem": {"name": "rosenbrock", "begin": [0, 1]}}, ["begin"]),
    ({"problem": {}}, ["problem"]),
    ({"problem": 7}, ["problem", "7"]),
    ({"optimizer": "adm"}, ["optimizer", "adm", "did you mean 'adam'"]),
    ({"optimizer": {"name": "adam", "beta1": 1.0}}, ["beta1", "[0, 1)", "1.0"]),
    ({"optimizer": {"name": "adam", "beta": 0.5}}, ["beta", "did you mean 'beta"]),
    ({"optimizer": {"name": "adam", "learning_rate": -0.1}}, ["learning_rate", "(0, ∞)", "-0.1"]),
    ({"optimizer": {"name": "adam", "learning_rate": 0}}, ["learning_rate", "(0, ∞)", "0"]),
    ({"optimizer": {"name": "adam", "learning_rate": "fast"}}, ["learning_rate", "fast"]),
    ({"optimizer": {"name": "adam", "learning_rate": None}}, ["learning_rate", "None"]),
    ({"optimizer": {"name": "adam", "learning_rate": True}}, ["learning_rate", "True"]),
    ({"optimizer": {"learning_rate": 0.1}}, ["optimizer.name", "required"]),
    ({"schedule": "cosin"}, ["schedule", "cosin"]),
    ({"steps": 0}, ["steps", "greater than or equal to 1", "0"]),
    ({"steps": -3}, ["steps", "greater than or equal to 1", "-3"]),
    ({"steps": 1.5}, ["steps", "integer", "1.5"]),
    ({"steps": "many"}, ["steps", "integer", "many"]),
    ({"steps": 10**12}, ["steps", "less than or equal to", "1000000000000"]),
    ({"batch_size": 100_000}, ["batch_size", "at most", "100000"]),
    ({"batch_size": 0}, ["batch_size", "greater than or equal to 1", "0"]),
    ({"seed": -1}, ["seed", "greater than or equal to 0", "-1"]),
    ({"seed": 2**63}, ["seed", "64 bits"]),
    ({"precision": "float16"}, ["precision", "float16"]),
    ({"record": "some"}, ["record", "some"]),
    (
        {"problem": {"dataset": "wine", "network": [{"layer": "dense", "units": 10**12}], "cost": "cross_entropy"}},
        ["parameters", "at most 100000000", "14000000000000"],
    ),
    (
        {"problem": {"dataset": "wine", "network": [{"layer": "relu"}] * 1001, "cost": "cross_entropy"}},
        ["network", "at most 1000 layers", "1001"],
    ),
    ({"stpes": 5}, ["stpes", "did you mean 'steps'"]),
    ({"name": "a/b"}, ["name", "a/b"]),
    ({"name": ""}, ["name"]),
    ({"name": "a\r\nb"}, ["name"]),
]


@pytest.mark.parametrize(("change", "said"), RUNS, ids=[json.dumps(change)[:80] for change, _ in RUNS])
def test_a_run_that_breaks_a_rule(http: httpx2.Client, store: Store, change: dict[str, Any], said: list[str]) -> None:
    _refused(http.post("/v1/runs", json=GOOD | change), said)
    assert store.runs().items == []
    assert store.cohort_counts() == {} or not any(store.cohort_counts().values())


@pytest.mark.parametrize("key", ["problem", "optimizer"])
def test_a_missing_key_is_named(http: httpx2.Client, key: str) -> None:
    spec = {name: value for name, value in GOOD.items() if name != key}
    _refused(http.post("/v1/runs", json=spec), [key, "required"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '{"problem": "digits-mlp", "optimizer": {"name": "adam", "learning_rate": NaN}}',
            ["learning_rate", "finite", "nan"],
        ),
        ('{"problem": "digits-mlp", "optimizer": {"name": "adam", "beta1": -Infinity}}', ["beta1", "finite", "-inf"]),
        ('{"problem": "digits-mlp", "optimizer": {"name": "adam", "epsilon": 1e400}}', ["epsilon", "finite", "inf"]),
        ('{"problem": {"name": "rosenbrock", "start": [NaN, 1]}, "optimizer": "adam"}', ["start[0]", "finite", "nan"]),
        ('{"problem": "digits-mlp", "optimizer": {"name": "adam", "beta1": 1%s}}' % ("0" * 400), ["beta1", "64 bits"]),
        ('{"problem": "digits-mlp", "optimizer": "adam", "seed": 1%s}' % ("0" * 5000), ["JSON"]),
        ('{"problem": "digits\\u0000mlp", "optimizer": "adam"}', ["problem", "NUL"]),
        ('{"problem": "digits-mlp", "optimizer": {"name": "adam", "\\ud800": 1}}', ["optimizer", "surrogates"]),
        ('{"problem": ' + "[" * 40 + "]" * 40 + ', "optimizer": "adam"}', ["nested", "32"]),
        ("[" * 100_000, ["body"]),
        ('{"problem": [' + "0," * 250_000 + "0]}", ["body", "at most 250000 keys and values"]),
        ('{"problem": "digits-mlp"', ["body", "JSON"]),
        ("\udcff", ["body", "JSON"]),
        ("", ["problem", "required"]),
        ("[]", ["body", "object", "list"]),
        ("null", ["body", "object", "NoneType"]),
    ],
)
def test_a_body_that_cannot_be_a_spec(http: httpx2.Client, store: Store, text: str, said: list[str]) -> None:
    content = text.encode("utf-8", "surrogateescape")
    _refused(http.post("/v1/runs", content=content, headers={"Content-Type": "application/json"}), said)
    assert store.runs().items == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"optimizers": []}, ["optimizers", "at least 1"]),
        ({"optimizers": ["sgd", "adamm"]}, ["adamm", "did you mean 'adam"]),
        ({"optimizers": ["sgd", {"name": "adam", "beta2": 2}]}, ["beta2", "[0, 1)", "2"]),
        ({"seeds": 0}, ["seeds", "0"]),
        ({"seeds": [1, 1]}, ["seeds", "[1, 1]"]),
        ({"seeds": [-1]}, ["seeds", "-1"]),
        ({"seeds": 10**7}, ["seeds", "10000000"]),
        ({"optimizer": "adam"}, ["optimizer", "did you mean 'optimizers'"]),
        ({"protocol": "fair"}, ["protocol", "fair"]),
    ],
)
def test_a_study_that_breaks_a_rule(http: httpx2.Client, store: Store, change: dict[str, Any], said: list[str]) -> None:
    _refused(http.post("/v1/studies", json=STUDY | change), said)
    assert store.studies().items == []
    assert store.runs().items == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("limit=0", ["limit", "0"]),
        ("limit=many", ["limit", "integer", "many"]),
        ("limit=100000", ["limit", "500", "100000"]),
        ("state=done", ["state", "done"]),
        ("cursor=nonsense", ["cursor", "nonsense"]),
        ("cursor=%00", ["cursor"]),
    ],
)
def test_a_query_that_breaks_a_rule(http: httpx2.Client, query: str, said: list[str]) -> None:
    _refused(http.get(f"/v1/runs?{query}"), said)


@pytest.mark.parametrize("key", ["", "a b", "x" * 201, "\x7f"])
def test_an_idempotency_key_is_one_short_word(http: httpx2.Client, store: Store, key: str) -> None:
    _refused(http.post("/v1/runs", json=GOOD, headers={"Idempotency-Key": key}), ["idempotency-key"])
    assert store.runs().items == []


@pytest.mark.parametrize(
    "name", ["%2e%2e", "%252e%252e", "%5c", ";", "%23", "%00", "..%2f..%2fetc", "%ed%a0%80", "x" * 201]
)
def test_a_strange_reference_is_not_found(http: httpx2.Client, name: str) -> None:
    for path in (f"/v1/runs/{name}", f"/v1/studies/{name}/ranking", f"/v1/runs/{name}/steps/cost"):
        assert http.get(path).status_code in (404, 422), path


def _refused(response: httpx2.Response, said: list[str]) -> None:
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["code"] == "invalid-spec"
    assert problem["status"] == 422
    for word in said:
        assert word in problem["detail"], problem["detail"]
