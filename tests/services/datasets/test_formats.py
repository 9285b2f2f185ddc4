"""Reading files of every format, and the messages for invalid columns, rows and classes."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from talweg.datasets.preparing import compress, digest_of, pack
from talweg.datasets.sources import unpack
from talweg.errors import CorruptRecord, InvalidSpec, TooLarge

Read = Callable[..., Any]
ROWS = "\n".join(f"{i},{i * 0.5},{'cat' if i % 3 else 'dog'}" for i in range(12))
CSV = f"x,y,animal\n{ROWS}\n".encode()


def as_parquet(**columns: Any) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def as_npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_csv_and_parquet_of_the_same_numbers_have_one_digest(parse_file: Read) -> None:
    x = np.arange(12)
    animals = ["cat" if i % 3 else "dog" for i in x]
    from_csv, from_parquet = parse_file(CSV, "csv"), parse_file(as_parquet(x=x, y=x * 0.5, animal=animals), "parquet")
    assert from_csv.digest == from_parquet.digest
    assert from_csv.payload == from_parquet.payload
    assert from_csv.shape["classes"] == ["cat", "dog"]
    assert (from_csv.shape["columns"], from_csv.shape["target"]) == (["x", "y"], "animal")
    made = unpack("animals", from_csv.digest, from_csv.size, from_csv.payload)
    assert made.inputs.shape == (12, 2)
    assert made.targets.tolist() == [1 if i % 3 == 0 else 0 for i in range(12)]
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


def test_floats_are_values_unless_kind_is_labels(read_file: Read, npz: Read) -> None:
    integers = np.arange(20) % 3
    assert read_file(npz(targets=integers), "npz").classes == [0, 1, 2]
    assert read_file(npz(targets=integers), "npz", kind="values").targets.shape == (20, 1)
    assert read_file(npz(targets=integers * 0.5), "npz").classes is None
    assert read_file(npz(targets=integers * 0.5), "npz", kind="labels").classes == [0.0, 0.5, 1.0]
    table = np.column_stack([np.random.default_rng(0).normal(size=(20, 2)), integers])
    assert read_file(as_npy(table), "npy", kind="labels").classes == [0, 1, 2]
    assert read_file(as_npy(table), "npy").classes is None


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
    with pytest.raises(InvalidSpec, match=r"column 0: must not be constant, got 0 in every row \(15 such"):
        read_file(npz(inputs=pictures), "npz")


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


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("x,animal\n1,a\n" * 8, {}, "column 'x': must hold numbers"),
        (CSV.decode(), {"target": "colour"}, "target: must be one of the columns x, y, animal, got 'colour'"),
        (CSV.decode().replace("animal", "x"), {}, "each name must differ"),
        (CSV.decode().replace("x,y,animal\n0,0.0,dog", "0,0.0,1"), {}, "the first line must name the columns"),
        (CSV.decode().replace("5,2.5,cat", "5,,cat"), {}, r"column 'y': must have a value in every row, row 5"),
        (CSV.decode().replace("5,2.5,cat", "5,2.5,"), {}, r"column 'animal': must have a value in every row, row 5"),
        (CSV.decode().replace("5,2.5,cat", "5,2.5"), {}, "csv: cannot be read"),
        (CSV.decode().replace("5,2.5,cat", "5,inf,cat"), {}, r"column 'y': must be finite.*got inf in row 5"),
        (CSV.decode(), {"kind": "values"}, "kind: must be .* for targets that are text"),
        (CSV.decode(), {"target": "x"}, "column 'animal': must hold numbers, got string"),
        ("x\n" + "1\n" * 20, {}, "columns: there must be 2"),
        ("", {}, "csv"),
        ("x,y\n" + "1,2\n" * 20, {}, "column 'x': must not be constant"),
    ],
)
def test_a_table_that_breaks_a_rule_is_refused(read_file: Read, text: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSpec, match=said):
        read_file(text.encode(), "csv", **options)


def test_semicolons_byte_order_marks_and_crlf_are_read(read_file: Read) -> None:
    made = read_file(b"\xef\xbb\xbf" + CSV.replace(b",", b";").replace(b"\n", b"\r\n"), "csv")
    assert (made.columns, made.classes) == (["x", "y"], ["cat", "dog"])


def test_nested_and_dated_columns_are_refused(read_file: Read) -> None:
    x = np.arange(12.0)
    for column in (pa.array([[1, 2]] * 12), pa.array(np.zeros(12, "datetime64[s]"))):
        with pytest.raises(InvalidSpec, match="column 'x': must hold numbers"):
            read_file(as_parquet(x=column, y=x), "parquet")


def test_a_stored_dataset_is_checked_before_it_is_used(read_file: Read, npz: Read) -> None:
    packed = pack(read_file(npz(), "npz"))
    digest, payload = digest_of(packed), compress(packed)
    assert unpack("mine", digest, len(packed), payload).classes == 2
    for wrong in (payload[:-9] + b"123456789", compress(packed[:-1] + b"x"), b"nothing", compress(bytes(10**8))):
        with pytest.raises(CorruptRecord, match=digest):
            unpack("mine", digest, len(packed), wrong)


def test_the_limit_is_for_the_unpacked_size(read_file: Read, npz: Read) -> None:
    zeros = npz(inputs=np.zeros((100_000, 10)), targets=np.arange(100_000) % 2)
    with pytest.raises(TooLarge, match="at most 1000000 bytes"):
        read_file(zeros, "npz", maximum=1_000_000)
