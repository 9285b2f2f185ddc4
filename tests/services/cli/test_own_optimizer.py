"""`talweg new-optimizer` writes a file that `talweg check` passes; check names what is wrong, and the file's line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from talweg_core.optimizers.check import CHECKS

Talweg = Callable[..., Any]


@pytest.mark.parametrize("options", [[], ["--tensors"]], ids=["coordinate", "tensors"])
def test_a_new_optimizer_passes_every_check(
    talweg: Talweg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written = talweg("new-optimizer", "my_rule.py", *options)
    assert (written.status, written.out) == (0, "my_rule.py: MyRule\n")
    assert "talweg check my_rule.py:MyRule, then talweg compare digits-mlp adam my_rule.py:MyRule" in written.err
    done = talweg("check", "my_rule.py:MyRule")
    assert done.status == 0, done.out
    assert f"MyRule keeps the contract: all {1 + len(CHECKS)} checks passed." in done.out
    assert "FAILED" not in done.out
    assert "A step of digits-mlp, 16 runs: " in done.out


def test_a_mistake_is_named_with_the_line_of_the_file(
    talweg: Talweg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    talweg("new-optimizer", "mine.py")
    file = tmp_path / "mine.py"
    file.write_text(file.read_text().replace("-learning_rate * m", "learning_rate * m"))
    done = talweg("check", "mine.py:Mine", "--json")
    assert done.status == 1
    assert done.json["passed"] is False
    wrong = {one["name"]: one for one in done.json["checks"] if not one["passed"]}
    assert set(wrong) == {"sign", "minimum"}
    assert wrong["sign"]["found"] == "ten updates move along the gradient, so they raise the cost"
    line = file.read_text().splitlines().index("        return learning_rate * m, m") + 1
    assert wrong["sign"]["line"] == f"mine.py, line {line}: return learning_rate * m, m"
    assert {cost["runs"] for cost in done.json["cost"]} == {1, 16}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "nowhere.py:Mine"], "nowhere.py: cannot be read: No such file or directory"),
        (["check", "adm"], "optimizer: there is no 'adm'; did you mean 'adam'?"),
        (["new-optimizer", "mine.txt"], "must be a file such as mine.py, got mine.txt"),
        (["new-optimizer", "there.py"], "there.py exists; choose another name"),
    ],
)
def test_what_cannot_be_done_says_why(
    talweg: Talweg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.py").write_text("")
    done = talweg(*arguments)
    assert done.status == 2
    assert message in done.err
