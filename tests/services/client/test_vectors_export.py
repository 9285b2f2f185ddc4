"""Runs and studies as Parquet: every step with the recorded bits."""

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own
import pyarrow.parquet as pq
import pytest

from talweg.client import Lab, vectors
from talweg.errors import InvalidSpec

ROOT = Path(__file__).parents[3]


def test_a_run_is_exported_with_its_vectors(
    lab: Lab, train: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = lab.submit(problem="wine-mlp", optimizer="adam", steps=80, record="replay")
    train()
    # Several row groups.
    monkeypatch.setattr(vectors, "_VALUES", 20_000)
    path = run.export(tmp_path / "run.parquet", vectors=True)
    table = pq.read_table(path)
    frame = pd.read_parquet(path)
    assert list(tmp_path.iterdir()) == [path]
    assert frame["step"].tolist() == list(range(80))
    assert frame["cost"].to_numpy().tobytes() == run.costs.tobytes()
    assert set(frame["optimizer"]) == {"adam"}
    tensors = json.loads(table.schema.metadata[b"tensors"])
    assert {tensor["name"]: tuple(tensor["shape"]) for tensor in tensors} == run.shapes
    for name, source in (("gradient", run.gradients), ("parameters", run.trajectory)):
        found = np.stack(frame[name].to_list())
        assert found.dtype == np.float32
        assert found.tobytes() == np.asarray(source.fetch(0, 80, source.size)).tobytes()


def test_a_study_is_one_file(lab: Lab, train: Callable[[], None], tmp_path: Path) -> None:
    study = lab.compare(
        problem="two-layer-line",
        optimizers=["adam", {"name": "sgd", "learning_rate": 0.1}],
        seeds=2,
        steps=30,
    )
    train()
    frame = pd.read_parquet(study.export(tmp_path / "study.parquet"))
    assert len(frame) == sum(run.step for run in study.runs)
    assert sorted(set(zip(frame["optimizer"], frame["seed"], strict=True))) == [
        ("adam", 0), ("adam", 1), ("sgd", 0), ("sgd", 1),
    ]  # fmt: skip
    assert '{"learning_rate": 0.1}' in set(frame["setting"])
    with pytest.raises(InvalidSpec, match=r"must end in \.parquet"):
        study.export(tmp_path / "study.csv")
    # As any file that the user makes: others may read it where the umask lets them.
    (tmp_path / "plain").touch()
    assert (tmp_path / "study.parquet").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain", "study.parquet"]


def test_duckdb_and_pandas_read_the_same_from_an_export(
    lab: Lab, train: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = lab.compare(
        problem="two-layer-line",
        optimizers=[{"name": "adam", "learning_rate": 0.1}, {"name": "sgd", "learning_rate": 0.01}],
        seeds=3,
        steps=60,
    )
    train()
    monkeypatch.chdir(tmp_path)
    frame = pd.read_parquet(study.export("study.parquet"))
    # The query that the README shows.
    found = duckdb.execute((ROOT / "examples" / "export.sql").read_text()).fetchall()
    first: dict[str, list[int]] = {}
    for run in study.runs:
        first.setdefault(run.view["spec"]["optimizer"]["name"], []).append(
            int(np.argmax(run.costs.astype(np.float64) < 0.5))
        )
    expected = [(name, float(np.median(steps)), len(steps)) for name, steps in first.items()]
    assert found == sorted(expected, key=lambda row: row[1])
    low = frame[frame["cost"] < 0.5].groupby(["optimizer", "run"], observed=True)["step"].min()
    assert low.groupby("optimizer", observed=True).median().to_dict() == {name: steps for name, steps, _ in found}


def test_duckdb_reads_single_coordinates(lab: Lab, train: Callable[[], None], tmp_path: Path) -> None:
    run = lab.submit(problem="two-layer-line", optimizer="adam", steps=40)
    train()
    path = run.export(tmp_path / "run.parquet", vectors=True)
    rows = duckdb.execute(f"SELECT gradient[1], parameters[4] FROM '{path}' ORDER BY step").fetchall()  # noqa: S608  # our own path
    tensors = [run.gradients.fetch(0, 40, 4)[:, 0], run.trajectory.fetch(0, 40, 4)[:, 3]]
    assert rows == list(zip(*(part.tolist() for part in tensors), strict=True))
