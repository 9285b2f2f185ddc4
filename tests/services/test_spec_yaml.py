"""Specs as YAML."""

from pathlib import Path

import pytest

from talweg.errors import InvalidSpec
from talweg.spec import StudySpec, read_spec

STUDY = """
name: tuned
protocol: grid
problem: digits-mlp
optimizers:
  - sgd
  - {name: adam, learning_rate: 1e-3, beta1: .9}
grid: {low: 1e-4, high: 1, points: 5}
"""


def test_a_study_in_yaml_is_that_in_json(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    found = read_spec(path)
    assert isinstance(found, StudySpec)
    assert found.optimizers[1].settings == {"learning_rate": 0.001, "beta1": 0.9}
    (tmp_path / "study.json").write_text(found.model_dump_json())
    assert read_spec(tmp_path / "study.json") == found


@pytest.mark.parametrize("text", ["a: [1", "!!python/object/apply:os.system ['true']", "- 1", "a: &x [*x]\n? {*x : 1}"])
def test_yaml_that_is_not_plain_data_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yml"
    path.write_text(text)
    with pytest.raises(InvalidSpec, match=r"bad\.yml: must"):
        read_spec(path)
