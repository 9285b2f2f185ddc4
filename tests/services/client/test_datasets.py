"""Datasets uploaded from files, tables and arrays."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own
import pyarrow as pa
import pytest
from pyarrow import feather

from talweg.client import Lab
from talweg.errors import InvalidSpec, NotFound

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(40, 3))
LABELS = ["no" if row[0] + row[1] > 0 else "yes" for row in INPUTS]
NETWORK = [{"layer": "dense", "units": 2}]


def test_arrays_are_trained_on_and_their_labels_are_kept(lab: Lab, train: Callable[[], None]) -> None:
    made = lab.upload("arrays", -INPUTS, LABELS)
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
    table.to_csv(tmp_path / "table.csv.gz", index=False, float_format="%.17g")
    assert lab.upload("table", tmp_path / "table.csv.gz").digest == made.digest
    assert lab.upload("table", pa.Table.from_pandas(table)).digest == made.digest
    assert lab.upload("table", pa.Table.from_pandas(table).to_batches()[0]).digest == made.digest
    assert lab.upload("table", {name: table[name].tolist() for name in table}).digest == made.digest
    assert lab.upload("table", table.to_records(index=False)).digest == made.digest
    assert lab.upload("table", table[["a", "b", "c"]], table["label"]).digest == made.digest
    feather.write_feather(table, tmp_path / "table.feather")
    assert lab.upload("table", tmp_path / "table.feather").digest == made.digest
    assert "table" in lab.datasets().column("name")
    # Arrays have no names of columns, and the same numbers.
    assert lab.upload("arrays of the table", inputs, LABELS).digest != made.digest


def test_wrong_data_are_refused_by_client_or_api(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="arrays of inputs need targets"):
        lab.upload("wrong", INPUTS)
    with pytest.raises(InvalidSpec, match=r"a file must end in \.csv"):
        lab.upload("wrong", tmp_path / "table.pickle")
    with pytest.raises(InvalidSpec, match="must hold numbers or text throughout"):
        lab.upload("wrong", np.array([[object()]] * 20), LABELS[:20])
    with pytest.raises(InvalidSpec, match="a row for each of the 40 rows of inputs, got 39"):
        lab.upload("wrong", INPUTS, LABELS[1:])
    with pytest.raises(InvalidSpec, match=r"workbook.*lab.upload\(NAME, pandas.read_excel\('mine.xlsx'\)\)"):
        lab.upload("wrong", tmp_path / "mine.xlsx")
    with pytest.raises(InvalidSpec, match="upload: tagret is not one of its options; did you mean 'target'"):
        lab.upload("wrong", INPUTS, LABELS, tagret="label")
    with pytest.raises(InvalidSpec, match=r"column 'a': must hold numbers, text or dates, got object in row 0"):
        lab.upload("wrong", pd.DataFrame({"a": [object()] * 20, "y": [0, 1] * 10}))
    with pytest.raises(InvalidSpec, match="each name must differ from the others, got 'a' twice"):
        lab.upload("wrong", pd.DataFrame(INPUTS, columns=["a", "a", "b"]))
    with pytest.raises(InvalidSpec, match="must give pairs of inputs and target, as PyTorch's do, got int"):
        lab.upload("wrong", [1, 2, 3])
    with pytest.raises(NotFound, match="dataset"):
        lab.dataset("wrong")


def test_its_card_escapes_names(lab: Lab) -> None:
    made = lab.upload("shown", INPUTS, np.where(INPUTS[:, 2] > 0, "<i>", "other"))
    assert repr(made) == "<Dataset shown: 40 rows of 3, 2 classes>"
    page = made._repr_html_()
    assert "<i>" not in page
    assert "&lt;i&gt;" in page


TABLES = Path(__file__).parents[1] / "datasets" / "tables"


def test_each_of_the_ten_tables_is_compared_on_in_one_line(
    lab: Lab, train: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    made, studies = {}, {}
    for file in sorted(TABLES.iterdir()):
        made[file.name] = lab.upload(f"ten {file.name}", file)
        said = capsys.readouterr().err
        assert repr(made[file.name]) in said
        assert all(row["column"] in said for row in made[file.name].report())
        assert f"baseline {made[file.name].baselines().column('baseline')[0]}: validation cost" in said
        studies[file.name] = lab.compare(
            dataset=f"ten {file.name}", optimizers=["adam"], seeds=1, steps=200, record="replay"
        )
    assert len(made) == 10
    train()
    for name, study in studies.items():
        (run,) = study.wait(progress=False).runs
        assert run.costs[-20:].mean() < run.costs[:20].mean(), name
        assert run.spec["problem"]["digest"] == made[name].digest


def test_a_dataset_of_scikit_learn_is_taken_as_it_is(lab: Lab) -> None:
    from sklearn import datasets

    iris = lab.upload("iris", datasets.load_iris(), show=False)
    assert (iris.classes, iris.view["target"], iris.shape) == (
        ["setosa", "versicolor", "virginica"],
        "target",
        (150, 4),
    )
    assert lab.upload("iris", datasets.load_iris(as_frame=True), show=False).classes == [0, 1, 2]
    assert lab.upload("sklearn diabetes", datasets.load_diabetes(), kind="regression", show=False).classes is None
    digits = lab.upload("sklearn digits", datasets.load_digits(), show=False)
    assert [row["note"] for row in digits.report() if row["taken_as"] == "left out"] == ["constant: 0"] * 3


class Pairs:
    """What PyTorch asks of a dataset: a length, and an example by position."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, position: int) -> tuple[np.ndarray, int]:
        return INPUTS[position].reshape(1, 1, 3), position % 2


def test_a_dataset_that_gives_pairs_is_taken_as_it_is(lab: Lab) -> None:
    made = lab.upload("pairs", Pairs())
    assert (made.shape, made.classes) == ((40, 1, 1, 3), [0, 1])


def test_mixed_columns_of_pandas_are_read_as_a_csv_of_them_is(lab: Lab) -> None:
    frame = pd.DataFrame({"when": pd.date_range("2024-01-01", periods=40), "mixed": [1, "2"] * 20, "y": LABELS})
    made = lab.upload("mixed", frame.set_index("when"), show=False)
    assert [(row["column"], row["taken_as"]) for row in made.report()] == [
        ("when", "date"), ("mixed", "number"), ("y", "target"),
    ]  # fmt: skip
    with pytest.raises(InvalidSpec, match=r"column 'mixed': holds numbers, but row 7 .*has 'many'"):
        lab.upload("mixed", frame.assign(mixed=[1, "2"] * 3 + [1, "many", *range(32)]), show=False)


def test_other_data_is_a_new_version_and_specs_keep_theirs(lab: Lab, train: Callable[[], None]) -> None:
    first = lab.upload("versions", INPUTS, LABELS)
    run = lab.submit(dataset="versions", optimizer="sgd", steps=4)
    second = lab.upload("versions", INPUTS[:30], LABELS[:30])
    assert (first.name, second.name, lab.dataset("versions").digest) == ("versions", "versions@2", second.digest)
    train()
    assert lab.run(run.id).wait(progress=False).spec["problem"]["digest"] == first.digest
    # A spec from before is submitted again with its own data, and a version may be named.
    assert lab.submit(run.spec | {"name": None}).spec["problem"]["digest"] == first.digest
    assert lab.submit(dataset="versions@2", optimizer="sgd", steps=4).spec["problem"]["digest"] == second.digest
    assert (
        lab.submit(dataset=lab.dataset("versions@1"), optimizer="sgd", steps=4).spec["problem"] == run.spec["problem"]
    )
    assert lab.upload("another name", INPUTS, LABELS).digest == first.digest


def test_a_dataset_does_not_stand_beside_a_problem(lab: Lab) -> None:
    with pytest.raises(InvalidSpec, match="dataset: must not stand beside a problem"):
        lab.compare(dataset="mine", problem="digits-mlp", optimizers=["sgd"])
    assert lab.submit(dataset="wine", optimizer="sgd", steps=2).spec["problem"]["network"][0]["units"] == 64


def test_a_folder_of_images_is_taken_as_it_is(lab: Lab, tmp_path: Path) -> None:
    from PIL import Image

    for i in range(20):
        folder = tmp_path / "pictures" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (6, 5), i).save(folder / f"{i}.png")
    made = lab.upload("pictures", tmp_path / "pictures")
    assert (made.shape, made.classes) == ((20, 1, 5, 6), ["a", "b"])
    assert lab.compare(dataset="pictures", optimizers=["sgd"], seeds=1, steps=2).spec["problem"]["network"][0] == {
        "layer": "flatten"
    }
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidSpec, match="'empty' must have a folder for each class"):
        lab.upload("pictures", tmp_path / "empty")


def test_the_ranking_and_the_report_show_the_baselines_and_who_does_not_beat_them(
    lab: Lab, train: Callable[[], None], tmp_path: Path
) -> None:
    lab.upload("ranked", INPUTS * 3, LABELS)
    optimizers = [{"name": "sgd", "learning_rate": 1e-6}, {"name": "adam", "learning_rate": 0.1}]
    study = lab.compare(dataset="ranked", optimizers=optimizers, seeds=2, steps=150, record="replay")
    train()
    study.wait(progress=False)
    ranking = study.ranking()
    assert [(row["rank"], row["optimizer"]) for row in ranking] == [
        (1, "adam"), (2, "sgd"), (None, "baseline: majority class"), (None, "baseline: linear model"),
    ]  # fmt: skip
    linear = lab.dataset("ranked").baselines().column("validation_cost")[1]
    assert ranking.column("validation_cost")[-1].median == linear
    said = [row["text"] for row in study.guards() if row["kind"] == "baseline"]
    assert [text.partition(":")[0] for text in said if text.startswith("sgd")] == [
        "sgd does not beat the baseline linear model"
    ]
    for name in ("report.md", "report.html"):
        text = study.report(tmp_path / name).read_text(encoding="utf-8")
        assert "baselines (validation cost)" in text
        assert "majority class 0." in text
    # Another cost is not compared with them.
    other = lab.compare(
        dataset="ranked", cost={"name": "cross_entropy", "label_smoothing": 0.1}, optimizers=["sgd"], seeds=1, steps=2
    )
    train()
    assert len(other.wait(progress=False).ranking()) == 1
