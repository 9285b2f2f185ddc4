"""problems, optimizers and schedules: from the installed engine, and from a remote laboratory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from talweg_core import optimizers, problems, schedules
from talweg_core.problems import suites

Talweg = Callable[..., Any]


def test_optimizers_are_a_table_of_family_state_evaluations_and_paper(talweg: Talweg, tmp_path: Path) -> None:
    done = talweg("optimizers", "--wide")
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].split() == ["name", "family", "state", "evaluations", "paper"]
    assert len(lines) == len(optimizers.names()) + 1
    adam = next(line for line in lines if line.split()[0] == "adam")
    for said in ("per coordinate", "2 P", "1 gradient", "Kingma & Ba 2015"):
        assert said in adam
    assert done.err == "Next: talweg optimizers adam\n"
    # No stack was started.
    assert list(tmp_path.iterdir()) == []


def test_one_optimizer_shows_formula_ranges_and_defaults(talweg: Talweg) -> None:
    done = talweg("optimizers", "adam")
    assert done.status == 0, done.err
    for said in ("θ ← θ − η m̂ / (√v̂ + ε)", "algorithm 1", "beta2          [0, 1)  0.999", "state: 2 P (m, v)"):
        assert said in done.out
    assert done.err.startswith("Next: talweg compare digits-mlp adam:")


def test_optimizers_as_json_are_what_the_engine_says(talweg: Talweg) -> None:
    rows = talweg("optimizers", "--json").json
    assert [row["name"] for row in rows] == optimizers.names()
    adam = talweg("optimizers", "adam", "--json").json
    assert adam == next(row for row in rows if row["name"] == "adam") == optimizers.describe("adam").plain()
    assert adam["ranges"]["beta1"] == "[0, 1)"
    assert adam["settings"]["beta1"] == 0.9


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["optimizers", "adamm"], "optimizer: there is no 'adamm'; did you mean 'adam'?"),
        (["optimizers", "--around", "clipnorm"], "around: there is no 'clipnorm'; did you mean 'clip_norm'?"),
        (["problems", "digit-mlp"], "problem: there is no 'digit-mlp'; did you mean 'digits-mlp'?"),
        (["schedules", "cosin"], "schedule: there is no 'cosin'; did you mean 'cosine'?"),
    ],
)
def test_an_unknown_name_ends_with_2_and_the_nearest(talweg: Talweg, arguments: list[str], said: str) -> None:
    done = talweg(*arguments)
    assert (done.status, done.out, done.err) == (2, "", f"talweg: error: {said}\n")


def test_surroundings_are_listed_and_shown(talweg: Talweg) -> None:
    listed = talweg("optimizers", "--around")
    assert [line.split()[0] for line in listed.out.splitlines()[1:]] == [d.name for d in optimizers.describe_wrappers()]
    shown = talweg("optimizers", "--around", "l2")
    assert "g ← g + λ θ" in shown.out
    assert "coefficient       [0, ∞)" in shown.out
    assert talweg("optimizers", "--around", "l2", "--json").json["settings"]["coefficient"] == 1e-4


def test_schedules_are_listed_and_shown(talweg: Talweg) -> None:
    assert [row["name"] for row in talweg("schedules", "--json").json] == schedules.names()
    assert "cosine" in talweg("schedules").out
    shown = talweg("schedules", "cosine")
    assert "factor(t) = end + ½ (start − end)(1 + cos(π min(t / T, 1)))" in shown.out
    assert "steps    whole numbers in [1, ∞)  must be given" in shown.out


def test_suites_are_listed_with_what_reaches_their_targets(talweg: Talweg) -> None:
    rows = talweg("suites", "--json").json
    expected = [(name, entry.problem, entry.target) for name in suites.names() for entry in suites.suite(name)]
    assert [(row["suite"], row["problem"], row["target"]) for row in rows] == expected
    assert {"suite": "standard", "problem": "digits-mlp", "batch_size": 32, "reached_by": "adam 0.01"}.items() <= next(
        row for row in rows if row["problem"] == "digits-mlp"
    ).items()
    assert "talweg compare --suite standard" in talweg("suites").err


def test_problems_are_listed_and_shown(talweg: Talweg, tmp_path: Path) -> None:
    assert [row["name"] for row in talweg("problems", "--json").json] == problems.names()
    assert "digits-mlp" in talweg("problems").out
    shown = talweg("problems", "wine-mlp")
    assert "parameters: 275; training examples: 124, 16 in each batch by default" in shown.out
    assert shown.err == "Next: talweg compare wine-mlp sgd adam\n"
    assert talweg("problems", "quadratic", "--json").json["settings"]["condition"] == 100.0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [("optimizers",), ("optimizers", "lbfgs"), ("schedules",), ("schedules", "warmup"), ("problems",)],
)
def test_a_remote_laboratory_gives_the_same_text_and_json(
    remote: Talweg, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    there = remote(*arguments), remote(*arguments, "--json")
    monkeypatch.delenv("TALWEG_URL")
    here = remote(*arguments), remote(*arguments, "--json")
    assert there[0].out == here[0].out
    assert there[1].json == here[1].json


def test_a_name_unknown_to_a_remote_laboratory_ends_with_2(remote: Talweg) -> None:
    done = remote("optimizers", "adamm")
    assert (done.status, done.err) == (
        2,
        "talweg: error: optimizer: there is no 'adamm'; did you mean 'adam'?\n",
    )
