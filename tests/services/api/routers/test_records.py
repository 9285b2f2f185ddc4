"""A run's record over HTTP has the engine's bits."""

import io
from collections.abc import Callable
from typing import Any

import httpx2
import numpy as np
import pytest
from numpy.typing import NDArray

from talweg.api import bodies
from talweg_core import Cohort, optimizers, problems

STEPS = 70
SPECS: dict[str, dict[str, Any]] = {
    record: {
        "problem": "wine-mlp",
        "optimizer": {"name": "adam", "learning_rate": 0.01},
        "steps": STEPS,
        "seed": 7,
        "evaluate_every": 35,
        "record": record,
        "name": f"wine-{record}",
    }
    for record in ("full", "replay")
}


@pytest.fixture(scope="module", autouse=True)
def trained(http: httpx2.Client, train: Callable[[], None]) -> None:
    """One run under each policy."""
    for spec in SPECS.values():
        assert http.post("/v1/runs", json=spec).status_code == 201
    train()


@pytest.fixture(scope="module")
def truth() -> dict[str, NDArray[Any]]:
    """The same run by the engine alone: costs (T,), gradients (T, P), parameters (T + 1, P)."""
    optimizer = optimizers.create("adam", learning_rate=0.01)
    cohort = Cohort(problems.create("wine-mlp"), [optimizer], [7])
    costs, gradients, parameters = [], [], [cohort.parameters[0].copy()]
    for _ in range(STEPS):
        record = cohort.advance()
        costs.append(float(record.costs[0]))
        gradients.append(record.gradient[0].copy())
        parameters.append(cohort.parameters[0].copy())
    return {"cost": np.array(costs), "gradient": np.stack(gradients), "parameters": np.stack(parameters)}


def array(http: httpx2.Client, path: str, **query: int) -> NDArray[Any]:
    response = http.get(path, params=query)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-npy"
    loaded: NDArray[Any] = np.load(io.BytesIO(response.content), allow_pickle=False)
    return loaded


def same_bits(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@pytest.mark.parametrize("record", ["full", "replay"])
@pytest.mark.parametrize("quantity", ["gradient", "parameters"])
def test_vectors_have_the_bits_of_the_engine(
    http: httpx2.Client, truth: dict[str, NDArray[Any]], record: str, quantity: str
) -> None:
    got = array(http, f"/v1/runs/wine-{record}/records/{quantity}")
    assert same_bits(got, truth[quantity])
    assert same_bits(
        array(http, f"/v1/runs/wine-{record}/records/{quantity}", start=63, stop=66), truth[quantity][63:66]
    )


@pytest.mark.parametrize("record", ["full", "replay"])
def test_costs_have_the_bits_of_the_engine(http: httpx2.Client, truth: dict[str, NDArray[Any]], record: str) -> None:
    got = array(http, f"/v1/runs/wine-{record}/steps/cost")
    assert got.dtype == np.float64
    assert same_bits(got, truth["cost"].astype(np.float64))


def test_columns_are_cut_as_slices_are(http: httpx2.Client) -> None:
    path = "/v1/runs/wine-full/steps/learning_rate"
    assert array(http, path, start=10, stop=13).tolist() == [0.01] * 3
    assert array(http, path, start=STEPS - 2, stop=STEPS + 50).shape == (2,)
    assert array(http, path, start=STEPS + 5).shape == (0,)


def test_norms_of_tensors_add_up_to_those_of_the_vector(http: httpx2.Client, truth: dict[str, NDArray[Any]]) -> None:
    norms = array(http, "/v1/runs/wine-full/records/norms")
    tensors = http.get("/v1/runs/wine-full").json()["tensors"]
    assert norms.shape == (STEPS, 3, len(tensors))
    whole = array(http, "/v1/runs/wine-full/steps/gradient_norm")
    # Sums of squares in float64 of float32 numbers: a few units in the last place apart.
    np.testing.assert_allclose(np.sqrt((norms[:, 0] ** 2).sum(axis=1)), whole, rtol=1e-12)
    np.testing.assert_allclose(whole, np.linalg.norm(truth["gradient"].astype(np.float64), axis=1), rtol=1e-6)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"records/gradient?start={STEPS}&stop={STEPS + 1}", 404, "no-such-step"),
        (f"records/gradient?start={STEPS}", 404, "no-such-step"),
        (f"records/parameters?start={STEPS + 1}&stop={STEPS + 2}", 404, "no-such-step"),
        ("records/gradient?start=5&stop=3", 422, "invalid-spec"),
        ("records/gradient?start=-1", 422, "invalid-spec"),
        ("records/gradient?start=1e3", 422, "invalid-spec"),
        ("records/gradient?start=99999999999999999999", 422, "invalid-spec"),
        ("records/hessian", 422, "invalid-spec"),
        ("steps/speed", 422, "invalid-spec"),
        (f"explain?step={STEPS + 9}&tensor=dense1.weight&index=0,0", 404, "no-such-step"),
        ("explain?step=1&tensor=dense1.weigth&index=0,0", 422, "invalid-spec"),
        ("explain?step=1&tensor=dense1.weight&index=999,0", 422, "invalid-spec"),
        ("explain?step=1&tensor=dense1.weight&index=a,b", 422, "invalid-spec"),
        ("explain?step=1&tensor=dense1.weight&index=0,0&nudge=nan", 422, "invalid-spec"),
        ("explain?step=1&tensor=dense1.weight&index=0,0&nudge=0", 422, "invalid-spec"),
        ("explain?tensor=dense1.weight", 422, "invalid-spec"),
    ],
)
def test_what_is_not_there_is_said(http: httpx2.Client, path: str, status: int, code: str) -> None:
    response = http.get(f"/v1/runs/wine-full/{path}")
    assert (response.status_code, response.json()["code"]) == (status, code), response.text


def test_a_range_of_more_than_a_page_is_refused_and_an_open_one_is_cut(
    http: httpx2.Client, truth: dict[str, NDArray[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    width = truth["gradient"].shape[1] * 4
    monkeypatch.setattr(bodies, "PAGE", 10 * width)
    path = "/v1/runs/wine-full/records/gradient"
    refused = http.get(path, params={"start": 0, "stop": 11})
    assert refused.status_code == 422
    assert "at most 10 steps in one answer, got 11" in refused.json()["detail"]
    assert same_bits(array(http, path, start=4), truth["gradient"][4:14])
    assert same_bits(array(http, path, start=65), truth["gradient"][65:])


def test_the_bytes_are_those_of_numpy_save(http: httpx2.Client) -> None:
    content = http.get("/v1/runs/wine-full/records/gradient", params={"start": 0, "stop": 2}).content
    saved = io.BytesIO()
    np.save(saved, np.load(io.BytesIO(content), allow_pickle=False), allow_pickle=False)
    assert content == saved.getvalue()


def test_evaluations_are_listed_by_step(http: httpx2.Client) -> None:
    rows = http.get("/v1/runs/wine-full/evaluations").json()
    validation = [row for row in rows if row["split"] == "validation"]
    assert [row["step"] for row in validation] == [0, 35, STEPS]
    assert all(0 <= row["metric"] <= 1 for row in validation)
    assert {row["split"] for row in rows if row["step"] == STEPS} == {"validation", "test"}
    assert http.get("/v1/runs/wine-full/evaluations", params={"start": 1}).json() == [r for r in rows if r["step"] > 0]
    assert http.get("/v1/runs/wine-full/evaluations", params={"start": STEPS + 1}).json() == []


def test_evaluations_come_in_pages_of_whole_steps(http: httpx2.Client, train: Callable[[], None]) -> None:
    spec = {"problem": "wine-mlp", "optimizer": "sgd", "steps": 10, "evaluate_every": 1, "name": "often"}
    assert http.post("/v1/runs", json=spec).status_code == 201
    train()
    whole = http.get("/v1/runs/often/evaluations").json()
    assert len(whole) == 12
    first = http.get("/v1/runs/often/evaluations", params={"limit": 11}).json()
    # The last step has two splits, of which one would fit.
    assert first == whole[:10]
    assert http.get("/v1/runs/often/evaluations", params={"start": first[-1]["step"] + 1}).json() == whole[10:]
    assert http.get("/v1/runs/often/evaluations", params={"limit": 10_001}).status_code == 422


def test_explain_says_in_words_what_the_numbers_are(http: httpx2.Client, train: Callable[[], None]) -> None:
    spec = {"problem": "two-layer-line", "optimizer": "adam", "steps": 3, "precision": "float64", "name": "line"}
    assert http.post("/v1/runs", json=spec).status_code == 201
    train()
    tensor = http.get("/v1/runs/line").json()["tensors"][0]["name"]
    said = http.get("/v1/runs/line/explain", params={"step": 0, "tensor": tensor, "index": "0,0", "nudge": 1}).json()
    assert (said["parameter"], said["cost"], said["nudged_cost"], said["derivative"]) == (1, 3, 6, 3)
    assert "from 1 to 2" in said["text"]
    assert "the cost from 3 to 6" in said["text"]
    assert "the derivative is 3" in said["text"]
    assert "Adam made an update of" in said["text"]
