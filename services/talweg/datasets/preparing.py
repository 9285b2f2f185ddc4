"""Check uploaded data, encode labels as numbers, and pack it into canonical bytes with a digest."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import zstandard
from numpy.typing import NDArray

from talweg.errors import InvalidSpec, TooLarge

Format = Literal["npz", "npy", "csv", "parquet"]
Kind = Literal["auto", "labels", "values"]
FORMATS: Final[tuple[Format, ...]] = ("npz", "npy", "csv", "parquet")
KINDS: Final[tuple[Kind, ...]] = ("auto", "labels", "values")

# A split of 70 : 15 : 15 needs this many rows to be of use.
MINIMUM_ROWS: Final = 10
MAXIMUM_ROWS: Final = 10_000_000
# Of a table; arrays may have more, since their columns have no names.
MAXIMUM_COLUMNS: Final = 10_000
MAXIMUM_CLASSES: Final = 10_000
MAXIMUM_DIMENSIONS: Final = 8
MAXIMUM_LINE: Final = 1_000_000
LONGEST_LABEL: Final = 200
# A run may train in float32: a value above this would become infinite.
_LARGEST = float(np.finfo(np.float32).max)
_ROWS_AT_ONCE = 65_536
Label = str | int | float | bool
_FORM: Final = "talweg-dataset-1"
_LEVEL: Final = 3


@dataclass(frozen=True)
class Options:
    """How to read a file.

    Attributes:
        target: The column to predict; None for the last (in npz: the member `targets`).
        kind: Whether targets are classes or numbers; with "auto", text, booleans and integers are classes.
        standardise: Scale each input column to mean 0 and standard deviation 1, measured on the training split.
        maximum: Bytes that the data may take unpacked.
    """

    format: Format
    target: str | None = None
    kind: Kind = "auto"
    standardise: bool = True
    maximum: int = 128_000_000


@dataclass(frozen=True)
class Text:
    """A column of text: `codes` (n,) are positions in `values`."""

    codes: NDArray[np.int64]
    values: list[str]


Column = NDArray[Any] | Text


@dataclass(frozen=True, eq=False)
class Prepared:
    """A checked dataset.

    Attributes:
        inputs: (n, *shape), in their own dtype.
        targets: (n,) int64 positions in `classes`, or (n, outputs) numbers where `classes` is None.
        columns, target: The names of the inputs and of the target, where they came from a table.
    """

    inputs: NDArray[Any]
    targets: NDArray[Any]
    classes: list[Label] | None
    standardise: bool
    columns: list[str] | None = None
    target: str | None = None


def prepare(
    inputs: NDArray[Any],
    targets: Column,
    options: Options,
    *,
    columns: list[str] | None = None,
    target: str = "targets",
) -> Prepared:
    """Check inputs and targets, and encode labels.

    Raises:
        InvalidSpec: Lengths differ, there are too few rows, a value is not finite, a column to standardise is constant,
            or targets are neither classes nor numbers.
        TooLarge: There are too many rows.
    """
    rows = len(targets.codes) if isinstance(targets, Text) else len(targets)
    if len(inputs) != rows:
        raise InvalidSpec(f"targets: must have a row for each of the {len(inputs)} rows of inputs, got {rows}")
    if not rows >= MINIMUM_ROWS:
        raise InvalidSpec(f"rows: there must be at least {MINIMUM_ROWS}, to train, validate and test on, got {rows}")
    if rows > MAXIMUM_ROWS:
        raise TooLarge(f"rows: there must be at most {MAXIMUM_ROWS}, got {rows}")
    numbers = _numbers("inputs", inputs)
    if numbers.ndim < 2 or not numbers[0].size:
        raise InvalidSpec(f"inputs: must be (rows, columns …), got shape {inputs.shape}")
    _check_inputs(numbers, columns, constant=not options.standardise)
    classes: list[Label] | None
    if _are_labels(targets, options.kind):
        made, classes = _encoded(target, targets)
    else:
        made, classes = _values(target, targets), None
    return Prepared(numbers, made, classes, options.standardise, columns, target if columns else None)


def stack(columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The columns as one array (n, k), in the narrowest dtype that holds all of them."""
    kind = np.result_type(*(column.dtype for column in columns))
    table = np.empty((len(columns[0]), len(columns)), kind)
    for position, column in enumerate(columns):
        table[:, position] = column
    return table


def _numbers(name: str, values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind not in "buif":
        raise InvalidSpec(f"{name}: must be numbers, got dtype {str(values.dtype)[:80]}")
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype == np.float16 or values.dtype.itemsize > 8:
        # float16 is widened without loss. Floats of more than 8 bytes are not portable: they become float64, and values
        # too large for it become infinite, which is refused later.
        with np.errstate(over="ignore"):
            return values.astype(np.float32 if values.dtype.itemsize < 8 else np.float64)
    return values


def _check_inputs(inputs: NDArray[Any], columns: list[str] | None, *, constant: bool) -> None:
    """Raise InvalidSpec for a value that is not finite or a constant column; blocks of rows avoid a copy of all."""
    flat = inputs.reshape(len(inputs), -1)
    low, high = flat[0].copy(), flat[0].copy()
    for start in range(0, len(flat), _ROWS_AT_ONCE):
        piece = flat[start : start + _ROWS_AT_ONCE]
        _check_finite("inputs", piece, start, columns)
        np.minimum(low, piece.min(axis=0), out=low)
        np.maximum(high, piece.max(axis=0), out=high)
    if not constant and (same := np.flatnonzero(low == high)).size:
        where = _named(int(same[0]), columns)
        raise InvalidSpec(
            f"{where}: must not be constant, got {low[same[0]]} in every row ({same.size} such columns); "
            "leave it out, or upload with standardise=false, as for pictures"
        )


def _check_finite(name: str, values: NDArray[Any], start: int, columns: list[str] | None) -> None:
    if values.dtype.kind != "f":
        return
    # NaN compares false, so this catches it with the infinities.
    wrong = ~(np.abs(values) <= _LARGEST)
    if wrong.any():
        row, position = (int(index) for index in np.argwhere(wrong)[0])
        where = _named(position, columns) if name == "inputs" else name
        raise InvalidSpec(
            f"{where}: must be finite, and at most 3.4e38 in size, got {values[row, position]} "
            f"in row {start + row} (counted from 0)"
        )


def _named(position: int, columns: list[str] | None) -> str:
    return f"inputs: column {position}" if columns is None else f"column {columns[position]!r}"


def _are_labels(targets: Column, kind: Kind) -> bool:
    if isinstance(targets, Text) or targets.dtype.kind == "U":
        if kind == "values":
            raise InvalidSpec("kind: must be 'labels' or 'auto' for targets that are text, got 'values'")
        return True
    return kind == "labels" or (kind == "auto" and targets.dtype.kind in "bui" and targets.ndim == 1)


def _values(name: str, targets: Column) -> NDArray[Any]:
    assert not isinstance(targets, Text)
    numbers = _numbers(name, targets)
    if numbers.ndim > 2 or not numbers[0:1].size:
        raise InvalidSpec(f"{name}: values must be (rows,) or (rows, outputs), got shape {targets.shape}")
    table = numbers.reshape(len(numbers), -1)
    _check_finite(name, table, 0, None)
    return table


def _encoded(name: str, targets: Column) -> tuple[NDArray[np.int64], list[Label]]:
    """(n,) positions in the classes, and the classes, sorted."""
    if isinstance(targets, Text):
        order = sorted(range(len(targets.values)), key=targets.values.__getitem__)
        classes: list[Label] = [targets.values[position] for position in order]
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        codes = rank[targets.codes]
    else:
        if targets.ndim != 1:
            raise InvalidSpec(f"{name}: labels must be (rows,), one for each row, got shape {targets.shape}")
        if targets.dtype.kind == "f" and not np.isfinite(targets).all():
            raise InvalidSpec(f"{name}: labels must be finite, got {targets[~np.isfinite(targets)][0]}")
        found, inverse = np.unique(targets, return_inverse=True)
        try:
            codes, classes = inverse.astype(np.int64), list(found[: MAXIMUM_CLASSES + 1].tolist())
        except ValueError:
            # NumPy stores any 32 bits as a character.
            raise InvalidSpec(f"{name}: labels must be valid Unicode, got code points that do not exist") from None
    if not 2 <= len(classes) <= MAXIMUM_CLASSES:
        raise InvalidSpec(f"{name}: there must be 2 to {MAXIMUM_CLASSES} classes, got {len(classes)}")
    for label in classes:
        if isinstance(label, str) and not (len(label) <= LONGEST_LABEL and _is_plain(label)):
            raise InvalidSpec(
                f"{name}: a label must have at most {LONGEST_LABEL} characters, without NUL and surrogates, "
                f"got {label[:40]!r}"
            )
    return codes, classes


def _is_plain(label: str) -> bool:
    return "\0" not in label and not any("\ud800" <= letter <= "\udfff" for letter in label)


def pack(data: Prepared) -> bytes:
    """The canonical bytes: one line of JSON, then inputs and targets in little-endian order."""
    inputs, targets = _little(data.inputs), _little(data.targets)
    head = {
        "form": _FORM,
        "inputs": {"dtype": inputs.dtype.str, "shape": list(inputs.shape)},
        "targets": {"dtype": targets.dtype.str, "shape": list(targets.shape)},
        "classes": data.classes,
        "standardise": data.standardise,
    }
    line = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
    return b"".join((line, b"\n", inputs.tobytes(), targets.tobytes()))


def compress(packed: bytes) -> bytes:
    """The packed bytes as they are stored, in zstd."""
    return zstandard.ZstdCompressor(level=_LEVEL).compress(packed)


def digest_of(packed: bytes) -> str:
    """sha256 of the canonical bytes, in hex."""
    return hashlib.sha256(packed).hexdigest()


def _little(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
