"""A run's page: it holds what was recorded, requests nothing, and stays small."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from talweg.records import gradient, norms, parameters, recompute_snapshots, stored_snapshots
from talweg.store import RunRow, Store
from talweg.web.inline import coarse, floats
from talweg.web.run_networks import evaluate, lines
from talweg.web.run_page import choose_steps, content, document, shown
from talweg_core import optimizers
from talweg_core.optimizers.coordinate import CoordinateOptimizer

Train = Callable[..., RunRow]
LIMIT = 300_000
PER_COORDINATE = sorted(name for name, kind in optimizers.catalogue().items() if issubclass(kind, CoordinateOptimizer))


def unpacked(packed: dict[str, Any]) -> Any:
    """The array, read as by the page's script."""
    return np.frombuffer(base64.b64decode(packed["f4"]), "<f4").reshape(packed["shape"])


def page(store: Store, run: RunRow, title: str = "a run") -> tuple[dict[str, Any], str]:
    """Content and document."""
    found = content(store, shown(store, run), title)
    return found, document(found)


class Elements(HTMLParser):
    """Every element with its attributes, and the text of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] == "script" and data.strip():
            self.scripts.append(data)


def test_a_small_runs_page_holds_every_step_as_it_was(local: Store, trained: Train) -> None:
    run = trained(problem="two-layer-line", optimizer="adam", steps=100)
    found, _ = page(local, run)
    assert found["steps"] == list(range(100))
    held = found["vectors"]
    for step in (0, 1, 50, 99):
        np.testing.assert_array_equal(unpacked(held["gradient"])[step], gradient(local, run, step))
        before, after = parameters(local, run, step), parameters(local, run, step + 1)
        np.testing.assert_array_equal(unpacked(held["parameters"])[step], before)
        np.testing.assert_array_equal(unpacked(held["update"])[step], after - before)
    np.testing.assert_array_equal(unpacked(found["costs"]), local.steps(run.id).cost.astype(np.float32))
    measured = np.asarray(norms(local, run, 0, 100))[found["measured"]]
    np.testing.assert_array_equal(unpacked(found["norms"]), measured.astype(np.float32))


def test_the_pages_chain_rule_gives_the_recorded_derivative(local: Store, trained: Train) -> None:
    run = trained(problem="two-layer-line", optimizer="sgd")
    found, _ = page(local, run)
    slopes = unpacked(found["vectors"]["gradient"])
    first, second = found["network"]["layers"]
    for layer, weight, bias in ((first, 0, 1), (second, 2, 3)):
        deltas = unpacked(layer["deltas"])[:, 0, 0]
        # float32 holds the products to seven digits.
        np.testing.assert_allclose(unpacked(layer["inputs"])[:, 0, 0] * deltas, slopes[:, weight], rtol=1e-5)
        np.testing.assert_allclose(deltas, slopes[:, bias], rtol=1e-5)


@pytest.mark.parametrize(
    "spec",
    [
        {"problem": "two-layer-line", "optimizer": "adam", "steps": 3000},
        {"problem": "wine-mlp", "optimizer": "adan", "steps": 300},
        {"problem": "rosenbrock", "optimizer": "momentum", "steps": 2000},
        {"problem": "noisy-quadratic", "optimizer": "rprop", "steps": 300},
        {"problem": "digits-mlp", "optimizer": "adam", "steps": 3000},
        {"problem": "digits-mlp", "optimizer": "muon", "steps": 20, "record": "full"},
    ],
    ids=lambda spec: f"{spec['problem']}-{spec['optimizer']}",
)
def test_a_page_stays_small_and_requests_nothing(local: Store, trained: Train, spec: dict[str, Any]) -> None:
    found, text = page(local, trained(**spec))
    assert "missing" not in found
    assert len(text.encode()) <= LIMIT
    elements = Elements()
    elements.feed(text)
    assert [name for _, attributes in elements.found for name in attributes if name in ("src", "href", "style")] == []
    assert not re.search(r"@import|url\((?!#ground)|fetch\(|XMLHttpRequest|import\(|eval\(|new Function", text)


def test_the_policy_lets_only_the_pages_own_script_run(local: Store, trained: Train) -> None:
    _, text = page(local, trained(problem="two-layer-line", optimizer="sgd"))
    elements = Elements()
    elements.feed(text)
    (policy,) = [a["content"] for tag, a in elements.found if tag == "meta" and "http-equiv" in a]
    digest = base64.b64encode(hashlib.sha256(elements.scripts[-1].encode()).digest()).decode()
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}';" in policy
    assert "unsafe" not in policy


def test_a_hostile_title_stays_a_title(local: Store, trained: Train) -> None:
    hostile = "</script><!--<script><img src=x onerror=alert(1)>\u2028\"'&"
    found, text = page(local, trained(problem="two-layer-line", optimizer="sgd"), hostile)
    elements = Elements()
    elements.feed(text)
    assert [tag for tag, _ in elements.found].count("script") == 2
    assert not any(tag == "img" for tag, _ in elements.found)
    assert json.loads(elements.scripts[0]) == found
    assert found["title"] == hostile


def test_a_diverged_run_has_a_page(local: Store, trained: Train) -> None:
    run = trained(problem="two-layer-line", optimizer={"name": "sgd", "learning_rate": 1e30})
    found, _ = page(local, run)
    assert (found["state"], found["made"]) == ("diverged", run.step)


def test_the_page_says_why_steps_cannot_be_recomputed(local: Store, trained: Train) -> None:
    run = trained(problem="two-layer-line", optimizer="sgd", record="replay")
    with local.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE steps SET cost = cost + 1 WHERE step = 7")
    found, text = page(local, run)
    assert "cost of step 7" in found["missing"]
    assert "vectors" not in found
    assert len(text) < LIMIT


def test_without_the_runs_optimizer_the_page_has_the_curves(local: Store, trained: Train) -> None:
    run = trained(problem="two-layer-line", optimizer="sgd")
    foreign = replace(run, optimizer="mine", spec=run.spec | {"optimizer": {"name": "mine", "learning_rate": 0.1}})
    found, _ = page(local, foreign)
    assert "mine" in found["missing"]
    assert unpacked(found["costs"]).shape == (20,)


def test_a_full_record_is_shown_even_where_it_cannot_be_recomputed(local: Store, trained: Train) -> None:
    run = trained(problem="two-layer-line", optimizer="sgd", record="full")
    expected = [gradient(local, run, step) for step in range(20)]
    with local.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE steps SET cost = cost + 1 WHERE step = 7")
    found, _ = page(local, run)
    np.testing.assert_array_equal(unpacked(found["vectors"]["gradient"]), np.stack(expected))
    assert found["rule"]["lines"] is None


def test_recomputed_snapshots_equal_stored_ones(local: Store, trained: Train) -> None:
    run = trained(problem="wine-mlp", optimizer="adam", steps=150, record="full")
    again, kept = (list(read(local, run, [0, 63, 64, 149])) for read in (recompute_snapshots, stored_snapshots))
    for one, other in zip(again, kept, strict=True):
        assert (one.step, one.cost, one.learning_rate) == (other.step, other.cost, other.learning_rate)
        for name in ("parameters", "gradient", "update"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(again[1].after["m"], again[2].before["m"])


@pytest.mark.parametrize("name", ["adan", "lion", "rprop", "adam", "adamax"])
def test_a_rules_lines_give_the_update_and_the_state_that_were_recorded(
    local: Store, trained: Train, name: str
) -> None:
    kind = optimizers.catalogue()[name]
    assert issubclass(kind, CoordinateOptimizer)
    tree = lines(kind)
    assert tree is not None
    run = trained(problem="two-layer-line", optimizer=name, precision="float64", steps=4)
    for snapshot in recompute_snapshots(local, run, range(4)):
        scope: dict[str, Any] = {"gradient": snapshot.gradient, "parameter": snapshot.parameters}
        scope |= {**snapshot.before, **snapshot.numbers}
        for line in tree:
            scope[line["name"]] = evaluate(line["tree"], scope)
        # θ + u rounds u to the last digit of θ.
        np.testing.assert_allclose(scope["update"], snapshot.update, rtol=1e-9, atol=1e-15)
        for state, values in snapshot.after.items():
            np.testing.assert_allclose(scope[state], values, rtol=1e-9)


@pytest.mark.parametrize("name", PER_COORDINATE)
def test_every_coordinate_rule_has_lines(name: str) -> None:
    kind = optimizers.catalogue()[name]
    assert issubclass(kind, CoordinateOptimizer)
    assert lines(kind) is not None


def test_a_rule_that_does_more_than_its_lines_is_shown_without_lines(local: Store, trained: Train) -> None:
    # At its first step it sets z to the start, which no line does.
    run = trained(problem="two-layer-line", optimizer="schedule_free_sgd")
    found, _ = page(local, run)
    assert found["rule"]["lines"] is None
    assert found["rule"]["after"].keys() == {"z"}


def test_chosen_steps_keep_the_extremes() -> None:
    costs = np.random.default_rng(1).lognormal(size=10_000)
    costs[[1234, 4321, 7777]] = 1e9, 1e-9, np.nan
    kept = choose_steps(costs, 100)
    assert {0, 1234, 4321, 9999} <= set(kept.tolist())
    assert 80 <= len(kept) <= 100
    assert np.all(np.diff(kept) > 0)
    assert np.diff(kept).max() < 500
    assert choose_steps(costs[:50], 100).tolist() == list(range(50))


def test_packed_numbers_are_unpacked() -> None:
    values = np.random.default_rng(2).normal(size=(3, 5)).astype(np.float32)
    np.testing.assert_array_equal(unpacked(floats(values)), values)
    packed = coarse(np.concatenate([values, np.zeros((1, 5))]))
    levels = (
        np.frombuffer(base64.b64decode(packed["i1"]), np.int8).reshape(4, 5) / 127 * np.array(packed["scale"])[:, None]
    )
    # Half a level.
    assert np.abs(levels[:3] - values).max() <= np.abs(values).max() / 253
    assert not levels[3].any()
