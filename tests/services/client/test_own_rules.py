"""A class, or FILE.py:CLASS, becomes the name of a source in the local stack's folder."""

import stat
from pathlib import Path

import pytest

from talweg.cli.submit import named
from talweg.client import Lab
from talweg.client.own_rules import hyperparameters_of_own, replaced, with_own
from talweg.client.wire import Wire
from talweg.errors import InvalidSpec
from talweg.spec import parse_study
from talweg_core.optimizers import CoordinateOptimizer
from talweg_core.optimizers.source import name_of, source_of

FILE = """
from talweg_core.optimizers import CoordinateOptimizer

class Halved(CoordinateOptimizer):
    learning_rate: float = 0.01
    half: float = 0.5

    def rule(gradient, learning_rate, half):
        return -half * learning_rate * gradient,

class Adam(Halved):
    def rule(gradient, learning_rate, half):
        return -half * learning_rate * gradient,
"""


class Mine(CoordinateOptimizer):
    """θ ← θ − η g."""

    def rule(gradient, learning_rate):  # type: ignore[no-untyped-def]  # noqa: N805
        """The update."""
        return (-learning_rate * gradient,)


@pytest.fixture
def wire(tmp_path: Path) -> Wire:
    """The wire of a local laboratory, without a connection."""
    return Wire("http://127.0.0.1:1", None, home=tmp_path)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """rules.py in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.py").write_text(FILE)
    return "rules.py"


def test_classes_and_files_become_names_whose_sources_are_in_the_folder(wire: Wire, file: str, tmp_path: Path) -> None:
    given = {"optimizers": ["adam", Mine, {"name": f"{file}:Halved", "half": 0.25}], "seeds": 3}
    found = replaced(wire, given)
    adam, mine, halved = found["optimizers"]
    assert (adam, found["seeds"]) == ("adam", 3)
    assert mine == {"name": name_of(source_of(Mine))}
    assert halved["half"] == 0.25
    kept = {path.stem: path for path in (tmp_path / "rules").iterdir()}
    assert set(kept) == {mine["name"], halved["name"]}
    assert kept[mine["name"]].read_text() == source_of(Mine)
    assert stat.S_IMODE(kept[mine["name"]].stat().st_mode) == 0o600
    assert hyperparameters_of_own(halved["name"]) == ["learning_rate", "half"]
    assert replaced(wire, given) == found


def test_a_spec_that_was_read_from_a_file_may_name_a_class(wire: Wire, file: str) -> None:
    spec = parse_study({"problem": "digits-mlp", "optimizers": [f"{file}:Halved"], "steps": 7})
    found = with_own(wire, spec)
    assert isinstance(found, dict)
    assert found["optimizers"][0]["name"].startswith("halved@")
    assert found["steps"] == 7
    assert "seeds" not in found


def test_code_goes_to_a_local_laboratory_only(file: str, tmp_path: Path) -> None:
    with Lab("http://127.0.0.1:1", token="a-token-that-is-long-enough") as lab:  # noqa: S106  # no laboratory has it
        for given in (Mine, f"{file}:Halved"):
            with pytest.raises(
                InvalidSpec, match=r"code goes to a local laboratory only, Lab\(\) or talweg up; for http"
            ):
                lab.submit(problem="digits-mlp", optimizer=given)
    assert not (tmp_path / "rules").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("rules.py:Adam", "adam is one of Talweg's own names; rename the class"),
        ("rules.py:Halve", "rules.py: class: there is no 'Halve'; did you mean 'Halved'?"),
        ("nowhere.py:Mine", "nowhere.py: cannot be read: No such file or directory"),
        (int, "int: its source must be in a file or a notebook cell"),
    ],
)
def test_what_cannot_be_used_is_refused_and_not_written(
    wire: Wire, file: str, tmp_path: Path, given: object, message: str
) -> None:
    with pytest.raises(InvalidSpec) as refused:
        replaced(wire, {"optimizer": given})
    assert message in str(refused.value)
    assert not (tmp_path / "rules").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rules.py:Mine", {"name": "rules.py:Mine"}),
        ("a folder/rules.py:Mine:beta=0.5", {"name": "a folder/rules.py:Mine", "beta": 0.5}),
        ("torch:AdamW:lr=0.1,amsgrad=true", {"name": "torch:AdamW", "lr": 0.1, "amsgrad": True}),
        ("optax:lion", {"name": "optax:lion"}),
        ("adam:beta1=0.5", {"name": "adam", "beta1": 0.5}),
    ],
)
def test_a_colon_in_a_name_is_not_the_one_before_settings(text: str, expected: object) -> None:
    assert named(text) == expected
