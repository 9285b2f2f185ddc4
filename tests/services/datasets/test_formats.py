"""Reading files of every format, and the messages for invalid columns, rows and classes."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from talweg.datasets.packing import digest_of, pack
from talweg.datasets.unpacking import unpack
from talweg.errors import CorruptRecord, InvalidSpec, TooLarge
from talweg_core.data import split

Read = Callable[..., Any]
ROWS = "\n".join(f"{i},{i * 0.5},{'cat' if i % 3 else 'dog'}" for i in range(12))
CSV = f"x,y,animal\n{ROWS}\n".encode()


def as_parquet(**columns: Any) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def as_arrow(**columns: Any) -> bytes:
    buffer = io.BytesIO()
    table = pa.table(columns)
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def as_npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_csv_and_parquet_of_the_same_numbers_have_one_digest(parse_file: Read) -> None:
    x = np.arange(12)
    animals = ["cat" if i % 3 else "dog" for i in x]
    from_csv, from_parquet = parse_file(CSV, "csv"), parse_file(as_parquet(x=x, y=x * 0.5, animal=animals), "parquet")
    stream = parse_file(as_arrow(x=x, y=x * 0.5, animal=animals), "arrow")
    assert from_csv.digest == from_parquet.digest == stream.digest
    assert from_csv.payload == from_parquet.payload == stream.payload
    assert from_csv.shape["classes"] == ["cat", "dog"]
    assert (from_csv.shape["columns"], from_csv.shape["target"]) == (["x", "y"], "animal")
    made = unpack("animals", from_csv.digest, from_csv.size, from_csv.payload)
    assert made.inputs.shape == (12, 2)
    assert made.targets.tolist() == [1 if i % 3 == 0 else 0 for i in range(12)]
    assert sorted(np.concatenate(list(made.splits.values())).tolist()) == list(range(12))
    np.testing.assert_allclose(made.part("train")[0].mean(axis=0), 0, atol=1e-12)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a"], ["a", "b"]),
        (["α", "日本"], ["α", "日本"]),
        ([True, False], [False, True]),
        ([7, -3], [-3, 7]),
        (["1", "01"], ["01", "1"]),
    ],
)
def test_labels_of_any_kind_are_encoded(read_file: Read, npz: Read, labels: list[Any], classes: list[Any]) -> None:
    made = read_file(npz(targets=np.array(labels * 10)), "npz")
    assert made.classes == classes
    assert [made.classes[code] for code in made.targets] == labels * 10


def test_whole_numbers_are_classes_and_other_floats_values_unless_kind_says_more(read_file: Read, npz: Read) -> None:
    integers = np.arange(20) % 3
    assert read_file(npz(targets=integers), "npz").classes == [0, 1, 2]
    assert read_file(npz(targets=integers), "npz", kind="values").targets.shape == (20, 1)
    assert read_file(npz(targets=integers * 0.5), "npz").classes is None
    assert read_file(npz(targets=integers * 0.5), "npz", kind="labels").classes == [0.0, 0.5, 1.0]
    table = np.column_stack([np.random.default_rng(0).normal(size=(20, 2)), integers])
    # Whole floats are never silently a regression.
    assert (
        read_file(as_npy(table), "npy").classes == read_file(as_npy(table), "npy", kind="labels").classes == [0, 1, 2]
    )
    assert read_file(as_npy(table), "npy", kind="regression").classes is None


@pytest.mark.parametrize("far", [1e300, -(2.0**63), 2.0**53, np.inf, np.nan])
def test_floats_without_an_integer_value_are_not_cast_to_integer_classes(read_file: Read, far: float) -> None:
    """Regression: they were cast to integers, and all became the most negative one."""
    table = np.column_stack([np.random.default_rng(0).normal(size=(20, 2)), np.append(np.arange(19.0) % 3, far)])
    if np.isfinite(far):
        assert read_file(as_npy(table), "npy", kind="labels").classes == sorted([0.0, 1.0, 2.0, far])
    else:
        with pytest.raises(InvalidSpec, match="finite"):
            read_file(as_npy(table), "npy", kind="labels")


def test_a_longdouble_must_fit_into_float64(read_file: Read, npz: Read) -> None:
    inputs = np.full((20, 2), 1, np.longdouble)
    inputs[3, 1] = np.longdouble("1e400")
    with pytest.raises(InvalidSpec, match="finite"):
        read_file(npz(inputs=inputs), "npz")


def test_pictures_keep_their_shape_and_type(read_file: Read, npz: Read) -> None:
    pictures = np.zeros((20, 1, 4, 4), np.uint8)
    pictures[:, 0, 1, 1] = np.arange(20)
    made = read_file(npz(inputs=pictures), "npz", standardise=False)
    assert (made.inputs.shape, made.inputs.dtype) == ((20, 1, 4, 4), np.uint8)
    assert made.notes == ["15 of 16 inputs are constant"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"inputs": np.ones((19, 3))}, "a row for each of the 19 rows of inputs, got 20"),
        ({"inputs": np.ones((4, 3)), "targets": np.arange(4)}, "rows: there must be at least 10"),
        ({"inputs": np.ones(20)}, r"inputs: must be \(rows, columns …\), got shape \(20,\)"),
        ({"inputs": np.ones((20, 0))}, "inputs: must be"),
        ({"inputs": np.full((20, 3), "x")}, "inputs: must be numbers"),
        ({"inputs": np.ones((20, 3), complex)}, "inputs: must hold numbers or text, never objects, got dtype complex"),
        ({"targets": np.zeros(20, "datetime64[s]")}, "targets: must hold numbers or text"),
        ({"targets": np.zeros(20, [("a", "i4")])}, "targets: must hold numbers or text"),
        ({"targets": np.zeros(20, int)}, "there must be 2 to 10000 classes, got 1"),
        ({"targets": np.full(20, np.nan)}, r"targets: must be finite.*got nan in row 0"),
        ({"targets": np.zeros((20, 2), int).astype(str)}, "labels must be"),
        ({"targets": np.array(["a", "b\ud800"] * 10)}, "without NUL and surrogates"),
        ({"targets": np.array(["a", "x" * 201] * 10)}, "at most 200 characters"),
        ({"targets": None}, "must have a member targets or y, got inputs"),
        ({"inputs": None}, "must have a member inputs or X, got targets"),
        ({"surplus.data": np.ones(3)}, "members must be named NAME.npy"),
    ],
)
def test_what_breaks_a_rule_is_named(read_file: Read, npz: Read, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSpec, match=said):
        read_file(npz(**changed), "npz")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_number_that_is_not_finite_is_named_by_row_and_column(read_file: Read, npz: Read, value: float) -> None:
    inputs = np.random.default_rng(0).normal(size=(20, 3))
    inputs[17, 1] = value
    with pytest.raises(InvalidSpec, match=r"inputs: column 1: must be finite.* in row 17 \(counted from 0\)"):
        read_file(npz(inputs=inputs), "npz")


def test_nested_columns_are_refused_by_name_and_may_be_left_out(read_file: Read) -> None:
    x = np.arange(12.0)
    for kind, column in {"list": pa.array([[1, 2]] * 12), "struct": pa.array([{"a": 1}] * 12)}.items():
        content = as_parquet(x=column, z=x * 2 % 7, y=x)
        with pytest.raises(
            InvalidSpec, match=f"column 'x': must hold numbers, text, dates or yes/no, got {kind}.*leave"
        ):
            read_file(content, "parquet", kind="regression")
        made = read_file(content, "parquet", kind="regression", columns={"x": "leave out"})
        assert made.columns == ["z"]


def test_every_type_of_arrow_that_holds_a_value_a_row_is_read(read_file: Read) -> None:
    from datetime import UTC, date, datetime, time, timedelta
    from decimal import Decimal

    days = [date(2024, 1, 1) + timedelta(days=i) for i in range(12)]
    columns = {
        "decimal": pa.array([Decimal(i) / 8 for i in range(12)], pa.decimal128(9, 3)),
        "day": pa.array(days, pa.date32()),
        "when": pa.array([datetime(2024, 1, 1, i, tzinfo=UTC) for i in range(12)], pa.timestamp("ns", "Europe/Zurich")),
        "clock": pa.array([time(i, 30) for i in range(12)], pa.time64("us")),
        "wait": pa.array([timedelta(seconds=i) for i in range(12)], pa.duration("ms")),
        "half": pa.array(np.arange(12, dtype=np.float16)),
        "flag": pa.array([True, None, False] * 4),
        "kind": pa.array(["a", "b", None] * 4).dictionary_encode(),
        "codes": pa.array([1, 2, 3] * 4).dictionary_encode(),
        "bytes": pa.array([b"u", b"v"] * 6),
        "none": pa.nulls(12),
        "y": pa.array(["no", "yes"] * 6, pa.large_string()),
    }
    made = read_file(as_parquet(**columns), "parquet")
    taken = {one.name: (one.taken, one.missing) for one in made.fitted}
    assert taken == {
        "decimal": ("number", 0), "day": ("date", 0), "when": ("date", 0), "clock": ("number", 0),
        "wait": ("number", 0),
        "half": ("number", 0), "flag": ("yes/no", 4), "kind": ("category", 4), "codes": ("number", 0),
        "bytes": ("category", 0), "none": ("left out", 12),
    }  # fmt: skip
    assert made.classes == ["no", "yes"]
    inputs, _ = made.examples(np.arange(12))
    names = [name for one in made.used for name in one.inputs]
    decimal = inputs[:, names.index("decimal")]
    assert np.allclose(np.diff(decimal), np.diff(decimal)[0])
    assert {"day: ordinal", "day: weekday", "when: seconds", "flag: missing", "kind = a"} <= set(names)


def test_a_stored_dataset_is_checked_before_it_is_used(read_file: Read, npz: Read) -> None:
    import zstandard

    buffer = io.BytesIO()
    digest, size = pack(read_file(npz(), "npz"), buffer)
    payload = buffer.getvalue()
    packed = zstandard.decompress(payload)
    assert (digest_of(packed), len(packed)) == (digest, size)
    assert unpack("mine", digest, size, payload).classes == 2
    wrong = (
        payload[:-9] + b"123456789",
        zstandard.compress(packed[:-1] + b"x"),
        b"nothing",
        zstandard.compress(bytes(10**8)),
    )
    for other in wrong:
        with pytest.raises(CorruptRecord, match=digest):
            unpack("mine", digest, size, other)


def test_a_dataset_of_the_first_form_is_split_and_scaled_as_it_was() -> None:
    """Runs of earlier versions name it by digest, and must get the same numbers."""
    import json

    import zstandard

    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(20, 3)), np.arange(20) % 2
    head = {
        "form": "talweg-dataset-1", "inputs": {"dtype": "<f8", "shape": [20, 3]},
        "targets": {"dtype": "<i8", "shape": [20]}, "classes": [0, 1], "standardise": True,
    }  # fmt: skip
    packed = json.dumps(head).encode() + b"\n" + inputs.tobytes() + targets.tobytes()
    made = unpack("old", digest_of(packed), len(packed), zstandard.compress(packed))
    expected = split("old", inputs, targets)
    assert np.array_equal(made.inputs, expected.inputs)
    assert all(np.array_equal(made.splits[part], expected.splits[part]) for part in expected.splits)


def test_the_limit_is_for_the_unpacked_size(read_file: Read, npz: Read) -> None:
    zeros = npz(inputs=np.zeros((100_000, 10)), targets=np.arange(100_000) % 2)
    with pytest.raises(TooLarge, match="at most 1000000 bytes"):
        read_file(zeros, "npz", maximum=1_000_000)
