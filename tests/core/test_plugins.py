"""Entry points of other packages: a broken one gives a warning and does not affect the others."""

import warnings
from pathlib import Path

import pytest

from talweg_core import optimizers, problems
from talweg_core.plugins import UnusablePlugin, installed

MODULE = """
from typing import ClassVar
from talweg_core.optimizers import Adam
from talweg_core.problems import create

class Good(Adam):
    name: ClassVar[str] = "good"

def valley():
    return create("rosenbrock")
"""


@pytest.fixture
def strange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file for the entry points of an installed package `strange`."""
    (tmp_path / "strange_module.py").write_text(MODULE)
    information = tmp_path / "strange-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    return information / "entry_points.txt"


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ("adam = strange_module:Good", "optimizer adam of strange: the name must not be one of Talweg's own"),
        ("gone = no_such_module:Gone", "optimizer gone of strange: no_such_module:Gone must be importable, got Module"),
        ("odd = strange_module:MODULE_OF", "optimizer odd of strange: strange_module:MODULE_OF must be importable"),
        (
            "typed = strange_module:ClassVar",
            "typed of strange: strange_module:ClassVar must be a subclass of Optimizer",
        ),
        ("other = strange_module:Good", "other of strange: strange_module:Good must have that name, got 'good'"),
    ],
)
def test_an_unusable_optimizer_is_warned_of_and_the_others_are_found(strange: Path, point: str, said: str) -> None:
    strange.write_text(f"[talweg.optimizers]\ngood = strange_module:Good\n{point}\n")
    with pytest.warns(UnusablePlugin, match=said):
        found = installed("optimizer", {"adam"}, optimizers.fault)
    assert {"good"} == set(found)


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ("digits-mlp = strange_module:valley", "problem digits-mlp of strange: the name must not be one of Talweg's"),
        ("gone = no_such_module:gone", "problem gone of strange: no_such_module:gone must be importable"),
        (
            "text = strange_module:__name__",
            "text of strange: strange_module:__name__ must be a class or a function that",
        ),
    ],
)
def test_an_unusable_problem_is_warned_of_and_the_others_are_found(strange: Path, point: str, said: str) -> None:
    strange.write_text(f"[talweg.problems]\nvalley = strange_module:valley\n{point}\n")
    with pytest.warns(UnusablePlugin, match=said):
        found = installed("problem", {"digits-mlp"}, problems.fault)
    assert {"valley"} == set(found)
    assert found["valley"]().name == "rosenbrock"


def test_a_usable_one_is_found_without_a_warning(strange: Path) -> None:
    strange.write_text("[talweg.optimizers]\ngood = strange_module:Good\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert installed("optimizer", {"adam"}, optimizers.fault)["good"].name == "good"
