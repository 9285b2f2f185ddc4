"""Entry points of other packages: a broken one gives a warning and does not affect the others."""

import warnings
from pathlib import Path

import pytest

from talweg_core.optimizers import UnusableOptimizer, load_installed

MODULE = """
from typing import ClassVar
from talweg_core.optimizers import Adam

class Good(Adam):
    name: ClassVar[str] = "good"
"""


def installed(folder: Path, points: str) -> None:
    """Write a package `strange` to `folder`, as an installer does."""
    (folder / "strange_module.py").write_text(MODULE)
    information = folder / "strange-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: strange\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[talweg.optimizers]\n{points}\n")


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ("adam = strange_module:Good", "optimizer adam of strange: the name must not be one of Talweg's own"),
        ("gone = no_such_module:Gone", "optimizer gone of strange: no_such_module:Gone must be importable, got Module"),
        ("odd = strange_module:MODULE_OF", "optimizer odd of strange: strange_module:MODULE_OF must be importable"),
        ("typed = strange_module:ClassVar", "optimizer typed of strange: .* must be a subclass of Optimizer, got"),
        ("other = strange_module:Good", "optimizer other of strange: the class must have that name, got 'good'"),
    ],
)
def test_an_unusable_optimizer_is_warned_of_and_the_others_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, said: str
) -> None:
    installed(tmp_path, f"good = strange_module:Good\n{point}")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(UnusableOptimizer, match=said):
        found = load_installed({"adam"})
    assert {"good"} == set(found)


def test_a_usable_one_is_found_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, "good = strange_module:Good")
    monkeypatch.syspath_prepend(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_installed({"adam"})["good"].name == "good"
