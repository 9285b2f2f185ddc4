"""Datasets uploaded from files, tables and arrays."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own
import pytest

from talweg.client import Lab
from talweg.errors import Conflict, InvalidSpec, NotFound

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(40, 3))
LABELS = ["no" if row[0] + row[1] > 0 else "yes" for row in INPUTS]
NETWORK = [{"layer": "dense", "units": 2}]


def test_arrays_are_trained_on_and_their_labels_are_kept(lab: Lab, train: Callable[[], None]) -> None:
    made = lab.upload("arrays", INPUTS, LABELS)
    assert (made.name, made.shape, made.classes) == ("arrays", (40, 3), ["no", "yes"])
    problem = {"dataset": "arrays", "network": NETWORK, "cost": "cross_entropy"}
    run = lab.submit(problem=problem, optimizer="adam", learning_rate=0.1, steps=60, record="replay")
    train()
    run.wait(progress=False)
    assert run.costs[-1] < run.costs[0]
    assert run.gradient(step=17)["dense1.weight"].shape == (2, 3) or run.gradient(step=17)["dense1.weight"].shape == (
        3,
        2,
    )
    assert run.spec["problem"]["digest"] == made.digest
    assert lab.dataset(made.digest).view == made.view == lab.dataset("arrays").view


def test_files_and_tables_of_the_same_data_are_the_same(lab: Lab, tmp_path: Path) -> None:
    inputs = INPUTS * 2
    table = pd.DataFrame(inputs, columns=["a", "b", "c"]).assign(label=LABELS)
    made = lab.upload("table", table)
    table.to_parquet(tmp_path / "table.parquet", index=False)
    assert lab.upload("table", tmp_path / "table.parquet").digest == made.digest
    table.to_csv(tmp_path / "table.csv", index=False, float_format="%.17g")
    assert lab.upload("table", str(tmp_path / "table.csv")).digest == made.digest
    np.savez(tmp_path / "table.npz", X=inputs, y=np.array(LABELS))
    assert lab.upload("table", tmp_path / "table.npz").digest == made.digest
    assert "table" in lab.datasets().column("name")
    with pytest.raises(Conflict, match="the name belongs to other data"):
        lab.upload("table", INPUTS[:20], LABELS[:20])


def test_wrong_data_are_refused_by_client_or_api(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="arrays of inputs need targets"):
        lab.upload("wrong", INPUTS)
    with pytest.raises(InvalidSpec, match=r"a file must end in \.npz"):
        lab.upload("wrong", tmp_path / "table.pickle")
    with pytest.raises(InvalidSpec, match="must hold numbers or text throughout"):
        lab.upload("wrong", np.array([[object()]] * 20), LABELS[:20])
    with pytest.raises(InvalidSpec, match="a row for each of the 40 rows of inputs, got 39"):
        lab.upload("wrong", INPUTS, LABELS[1:])
    with pytest.raises(InvalidSpec, match="column 1: must not be constant"):
        lab.upload("wrong", INPUTS * [1, 0, 1], LABELS)
    with pytest.raises(NotFound, match="dataset"):
        lab.dataset("wrong")


def test_its_card_escapes_names(lab: Lab) -> None:
    made = lab.upload("shown", INPUTS, np.where(INPUTS[:, 2] > 0, "<i>", "other"))
    assert repr(made) == "<Dataset shown: 40 rows of 3, 2 classes>"
    page = made._repr_html_()
    assert "<i>" not in page
    assert "&lt;i&gt;" in page
