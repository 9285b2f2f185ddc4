"""The list of guards (guards.toml) is complete, and each guard and test exists; benchmarks/guards.py runs it."""

import ast
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LIST = tomllib.loads((ROOT / "tests" / "security" / "guards.toml").read_text(encoding="utf-8"))
GUARDS: list[dict[str, Any]] = LIST["guard"]
LINES = 50


def test_every_line_has_a_guard_or_a_reason_for_none() -> None:
    named = {guard["line"] for guard in GUARDS}
    excused = {int(line) for line in LIST["without"]}
    assert named | excused == set(range(1, LINES + 1))
    assert not named & excused
    assert [guard["line"] for guard in GUARDS] == sorted(guard["line"] for guard in GUARDS)


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: f"{guard['line']:02}-{guard['test'].rpartition('::')[2]}")
def test_the_guard_and_its_test_exist(guard: dict[str, Any]) -> None:
    assert guard["old"] in (ROOT / guard["file"]).read_text(encoding="utf-8")
    assert guard["old"] != guard["new"]
    file, _, name = guard["test"].partition("::")
    functions = ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
    assert name in {node.name for node in functions if isinstance(node, ast.FunctionDef)}
