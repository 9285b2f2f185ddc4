"""Descriptions of optimizers as text, HTML and JSON."""

import json
import re
from typing import Any

import pytest

from talweg_core import Cohort, optimizers, problems, schedules
from talweg_core.errors import UnknownName

BUILT_IN = sorted(n for n, k in optimizers.catalogue().items() if k.__module__.startswith("talweg_core"))


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_optimizer_says_formula_ranges_and_source(name: str) -> None:
    described = optimizers.describe(name)
    assert "←" in described.formula
    assert described.paper[-4:].isdigit()
    assert "PyTorch" in described.source or "optax" in described.source
    for setting in described.settings:
        assert setting.name in f"{described.formula} {described.details}", setting.name


@pytest.mark.parametrize("name", BUILT_IN)
def test_state_is_declared_as_it_is(name: str) -> None:
    """The catalogue declares the state of a checkpoint, without the tensor names after a dot."""
    runs = Cohort(problems.create("wine-mlp"), [optimizers.create(name)], [0])
    kind = optimizers.catalogue()[name]
    declared = set(kind.state) | set(getattr(kind, "numbers", {}))
    scalars = {"kept", "iterations", "length", "scale"} if name == "lbfgs" else set()
    found = {key if key.startswith("vectors.") else key.split(".")[0] for key in runs.state}
    vectors = {key for key in found if key.startswith("vectors.")}
    assert found - scalars - vectors == declared - vectors


def test_the_catalogue_is_a_table_in_text_and_in_a_notebook() -> None:
    table = optimizers.catalogue()
    text, html = str(table), table._repr_html_()
    assert text.splitlines()[0].split() == ["name", "family", "state", "evaluations", "paper"]
    assert repr(table) == text
    assert len(text.splitlines()) == len(table) + 1
    for name in table:
        assert f">{name}</td>" in html
    assert "Kingma &amp; Ba 2015" in html


@pytest.mark.parametrize(
    "shown",
    [optimizers.catalogue(), optimizers.describe("adam"), schedules.catalogue(), schedules.describe("cosine"),
     problems.describe("wine-mlp"), *optimizers.describe_wrappers()],
    ids=lambda shown: type(shown).__name__,
)  # fmt: skip
def test_a_notebook_shows_it_without_script_on_light_and_on_dark(shown: Any) -> None:
    html = shown._repr_html_()
    assert 'style="' in html
    assert "<script" not in html
    # No colours of its own except half-transparent lines.
    assert "background" not in html
    assert set(re.findall(r"(?:^|[;\"])color:", html)) == set()
    assert set(re.findall(r"rgba\([^)]*\)", html)) <= {"rgba(128,128,128,0.35)"}


def test_one_optimizer_is_described_in_text_and_in_a_notebook() -> None:
    described = optimizers.describe("adam")
    text, html = str(described), described._repr_html_()
    for said in ("Adam (adam), per coordinate", "θ ← θ − η m̂ / (√v̂ + ε)", "[0, 1)", "1e-08", "Kingma & Ba 2015"):
        assert said in text
    assert re.search(r">beta1</td><td[^>]*>\[0, 1\)</td><td[^>]*>0.9</td>", html)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_description_survives_json(name: str) -> None:
    described = optimizers.describe(name)
    plain = json.loads(json.dumps(described.plain()))
    assert optimizers.Description.read(plain) == described
    assert plain["settings"].keys() == optimizers.create(name).settings().keys() | {"around"}


def test_a_wrapper_says_formula_and_ranges() -> None:
    described = {one.name: one for one in optimizers.describe_wrappers()}
    assert sorted(described) == [
        "accumulate", "average", "cautious", "clip_norm", "clip_value", "grokfast", "l2", "lookahead", "sam", "swa",
        "tensor_rate", "weight_decay",
    ]  # fmt: skip
    for one in described.values():
        assert one.formula
        for setting in one.settings:
            assert setting.name in f"{one.formula} {one.details}", (one.name, setting.name)
            assert setting.range


def test_describing_an_unknown_optimizer_gives_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'momentum'"):
        optimizers.describe("momentun")
