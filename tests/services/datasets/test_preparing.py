"""What becomes of a table: the ten files, and that nothing is learnt from rows that are not for training."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talweg.datasets.packing import pack
from talweg.datasets.preparing import Prepared
from talweg.datasets.unpacking import unpack
from talweg.errors import InvalidSpec, TooLarge

Read = Callable[..., Prepared]
TABLES = Path(__file__).parent / "tables"


def taken(made: Prepared) -> dict[str, str]:
    return {one.name: one.taken for one in made.fitted}


def table(columns: dict[str, list[Any]]) -> bytes:
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.parametrize(
    ("file", "target", "classes", "columns"),
    [
        ("unnamed_index.csv", "kind", ["x", "y", "z"], {"column 1": "left out", "a": "number", "b": "number"}),
        ("trailing_comma.csv", "kind", ["x", "y", "z"], {"a": "number", "b": "number", "column 4": "left out"}),
        ("categories_and_gaps.csv", "survived", [0, 1],
         {"age": "number", "colour": "category", "member": "yes/no", "fare": "number"}),
        ("decimal_comma.csv", "kind", ["x", "y", "z"], {"a": "number", "b": "number"}),
        ("measurements.tsv", "kind", ["x", "y", "z"], {"a": "number", "b": "number"}),
        ("measurements.csv.gz", "kind", ["x", "y", "z"], {"a": "number", "b": "number"}),
        ("float_labels.csv", "label", [0, 1, 2], {"a": "number", "b": "number"}),
        ("rare_class.csv", "kind", ["w", "x", "y", "z"], {"a": "number", "b": "number"}),
        ("dates.csv", "peak", None, {"day": "date", "load": "number"}),
        ("constant_and_id.csv", "kind", ["x", "y", "z"],
         {"id": "left out", "a": "number", "b": "number", "unit": "left out"}),
    ],
)  # fmt: skip
def test_the_ten_tables_are_taken_as_they_are(
    read_file: Read, file: str, target: str, classes: list[Any] | None, columns: dict[str, str]
) -> None:
    made = read_file((TABLES / file).read_bytes(), "csv")
    assert (made.target, made.classes, taken(made)) == (target, classes, columns)
    # The engine gets finite numbers; those for training have mean 0.
    buffer = io.BytesIO()
    digest, size = pack(made, buffer)
    data = unpack(file, digest, size, buffer.getvalue())
    assert np.isfinite(data.inputs).all()
    assert data.inputs.shape == (len(made.parts), *made.input_shape)
    numbers = [i for i, name in enumerate(name for one in made.used for name in one.inputs) if name in ("a", "load")]
    np.testing.assert_allclose(data.part("train")[0][:, numbers].mean(axis=0), 0, atol=1e-12)


def test_what_was_done_is_said(read_file: Read) -> None:
    notes: dict[str, str] = {}
    for file in ("unnamed_index.csv", "trailing_comma.csv", "constant_and_id.csv", "categories_and_gaps.csv"):
        about = read_file((TABLES / file).read_bytes(), "csv").about()
        notes |= {row["column"]: row["note"] for row in about["report"]}
    assert notes["column 1"] == "counts the rows"
    assert notes["column 4"] == "empty"
    assert notes["id"] == "an identifier: 42 different texts in 42 rows of the training part"
    assert notes["unit"] == "constant: kg"
    assert notes["age"] == "gaps filled with 38.5; an input says where it is missing"
    assert notes["colour"] == "3 categories; an input says where it is missing"
    rare = read_file((TABLES / "rare_class.csv").read_bytes(), "csv")
    assert rare.warnings == ["class 'w' has 1 row: none in validation and test"]
    assert (
        read_file((TABLES / "float_labels.csv").read_bytes(), "csv").target_note == "3 whole numbers taken as classes"
    )


def mixed(rng: np.random.Generator, rows: int = 200) -> dict[str, list[Any]]:
    return {
        "n": [*map(str, rng.normal(size=rows - 1).round(3)), ""],
        "c": [("red", "green", "blue", "")[i] for i in rng.integers(0, 4, rows)],
        "f": [("yes", "no", "")[i] for i in rng.integers(0, 3, rows)],
        "d": [f"2024-0{m}-1{d}" for m, d in zip(rng.integers(1, 9, rows), rng.integers(0, 9, rows), strict=True)],
        "part": [("train", "validation", "test")[i % 3] for i in range(rows)],
        "y": ["a" if one else "b" for one in rng.integers(0, 2, rows)],
    }


def test_nothing_is_learnt_from_rows_that_are_not_for_training(read_file: Read) -> None:
    """Leak test: fills, categories, scales and what is left out stay, whatever the other parts hold."""
    columns = mixed(np.random.default_rng(0))
    other = mixed(np.random.default_rng(1))
    parts = columns["part"]

    def outside(name: str, values: Iterable[Any]) -> list[Any]:
        """The column with other values in the rows that are not for training."""
        pairs = zip(columns[name], values, parts, strict=True)
        return [own if part == "train" else other for own, other, part in pairs]

    changed = {name: outside(name, other[name]) for name in columns} | {"part": parts}
    changed["n"] = outside("n", (str(1e6 * i) for i in range(200)))
    changed["c"] = outside("c", (f"new {i}" for i in range(200)))
    first, second = (read_file(table(one), "csv", split="part") for one in (columns, changed))
    keep = [(one.name, one.taken, one.scales, one.categories, one.others, one.indicator) for one in first.fitted]
    assert keep == [
        (one.name, one.taken, one.scales, one.categories, one.others, one.indicator) for one in second.fitted
    ]
    training = np.flatnonzero(first.parts == 0)
    assert np.array_equal(first.examples(training)[0], second.examples(training)[0])
    assert not np.array_equal(first.examples(np.arange(200))[0], second.examples(np.arange(200))[0])
    # Check the test itself: a value of the training part does change them.
    changed["n"][0] = "1e6"
    third = read_file(table(changed), "csv", split="part")
    assert third.fitted[0].scales != first.fitted[0].scales


def test_frequent_categories_have_an_input_each_and_the_others_share_one(read_file: Read) -> None:
    words = ["a"] * 40 + ["b"] * 30 + ["c"] * 20 + ["d"] * 5 + ["e"] * 5
    made = read_file(table({"c": words, "x": list(range(100)), "y": [i % 2 for i in range(100)]}), "csv", categories=3)
    one = made.used[0]
    assert (one.categories, one.others, one.inputs) == (
        ("a", "b", "c"),
        True,
        ["c = a", "c = b", "c = c", "c: another"],
    )
    inputs, _ = made.examples(np.arange(100))
    assert inputs[:, :4].sum(axis=1).tolist() == [1.0] * 100
    assert inputs[90:, 3].tolist() == [1.0] * 10


def test_a_column_is_taken_as_asked(read_file: Read) -> None:
    content = (TABLES / "constant_and_id.csv").read_bytes()
    made = read_file(content, "csv", columns={"a": "category", "b": "leave out", "id": "category"}, categories=5)
    assert taken(made) == {"id": "category", "a": "category", "b": "left out", "unit": "left out"}
    assert [len(one.inputs) for one in made.used] == [6, 6]
    with pytest.raises(InvalidSpec, match=r"columns: 'a' must be one of 'number', 'category'.*got 'numeric'"):
        read_file(content, "csv", columns={"a": "numeric"})


def test_texts_that_differ_in_each_row_are_left_out_in_time_and_memory(parse_file: Callable[..., Any]) -> None:
    rows = "".join(f"user {i},{i % 7},{i % 2}\n" for i in range(300_000))
    made = parse_file(f"user,x,y\n{rows}".encode(), "csv")
    (note,) = [row["note"] for row in made.shape["report"] if row["column"] == "user"]
    assert note.startswith("an identifier: 210")


def test_dates_give_their_parts_and_numbers_are_not_scaled_where_that_is_not_wanted(read_file: Read) -> None:
    content = table({"t": [f"1970-01-0{1 + i % 7} 0{i % 9}:00" for i in range(30)], "y": [i % 2 for i in range(30)]})
    made = read_file(content, "csv", standardise=False)
    assert made.used[0].inputs == ["t: ordinal", "t: weekday", "t: seconds"]
    inputs, _ = made.examples(np.arange(30))
    assert inputs[:3].tolist() == [[0, 3, 0], [1, 4, 3600], [2, 5, 7200]]


def test_targets_that_are_numbers_are_scaled_by_the_training_part(read_file: Read) -> None:
    content = (TABLES / "dates.csv").read_bytes()
    made = read_file(content, "csv")
    assert made.scale is not None
    training = made.targets[made.parts == 0]
    assert made.scale.mean == [training.mean()]
    assert read_file(content, "csv", standardise=False).scale is None


def test_of_very_many_columns_those_that_are_not_just_numbers_are_reported(read_file: Read) -> None:
    columns: dict[str, list[Any]] = {f"c{i}": [(j * (i + 3)) % 11 for j in range(12)] for i in range(1200)}
    columns |= {"same": [1] * 12, "y": ["a", "b"] * 6}
    made = read_file(table(columns), "csv")
    assert made.input_shape == (1200 - sum(one.taken == "left out" for one in made.fitted) + 1,)
    assert {row["taken_as"] for row in made.about()["report"]} == {"left out"}


def test_inputs_have_a_limit(read_file: Read) -> None:
    columns = {f"c{i}": [f"w{(j * (i + 1)) % 50}" for j in range(500)] for i in range(40)}
    with pytest.raises(TooLarge, match=r"inputs: must take at most 1600000 bytes, got .*fewer categories"):
        read_file(table(columns | {"y": [i % 2 for i in range(500)]}), "csv", categories=40, maximum=200_000)
