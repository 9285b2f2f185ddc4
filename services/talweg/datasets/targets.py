"""Targets: classes or numbers, and the question which where the data do not tell."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from talweg.datasets.columns import Column
from talweg.datasets.options import LONGEST_LABEL, MAXIMUM_CLASSES, Options
from talweg.errors import InvalidSpec

Label = str | int | float | bool
_EXACT: Final = 2.0**53
# A run may train in float32: a value above this would become infinite.
LARGEST: Final = float(np.finfo(np.float32).max)
# So many different whole numbers are taken as classes; more only where they count 0, 1, 2, … and each has many rows.
_SURELY: Final = 20
_ROWS_OF_A_CLASS: Final = 10


@dataclass(frozen=True, eq=False)
class Targets:
    """(n,) int64 positions in `classes`, or (n, outputs) numbers where `classes` is None."""

    values: NDArray[Any]
    classes: list[Label] | None
    note: str = ""


def from_column(column: Column, options: Options) -> Targets:
    """The targets in a column without missing values; raises InvalidSpec."""
    name = column.name
    if column.kind == "category":
        if options.wants_numbers:
            row = 0
            raise InvalidSpec(
                f"column {name!r}: as a target for regression must hold numbers, row {row} (counted from 0) has "
                f"{column.words[int(column.values[row])][:40]!r}; kind='classification' takes texts as classes"
            )
        if len(column.words) * 2 > len(column.values):
            raise InvalidSpec(
                f"column {name!r}: as the target must have classes that repeat, got {len(column.words)} different "
                f'texts in {len(column.values)} rows; write which column to predict: target="…"'
            )
        return _texts(f"column {name!r}", column)
    if column.kind == "date":
        raise InvalidSpec(
            f"column {name!r}: as the target must hold classes or numbers, got dates; write which column to predict: "
            'target="…"'
        )
    if column.kind == "yes/no" and not options.wants_numbers:
        boolean = column.words == ("false", "true")
        codes = column.values.astype(np.int64)
        return _checked(
            f"column {name!r}", Targets(codes, [False, True] if boolean else list(column.words)), len(np.unique(codes))
        )
    return from_array(f"column {name!r}", column.values, options)


def from_array(name: str, values: NDArray[Any], options: Options) -> Targets:
    """The targets in an array (n,) or (n, outputs) of numbers, booleans or text; raises InvalidSpec with the name."""
    if values.dtype.kind == "U":
        if options.wants_numbers:
            raise InvalidSpec(f"{name}: as targets for regression must be numbers, got text")
        return _labels(name, values)
    if options.wants_classes or (values.dtype.kind == "b" and values.ndim == 1 and not options.wants_numbers):
        return _labels(name, values)
    if options.wants_numbers or values.ndim != 1 or not _whole(values):
        return _numbers(name, values)
    different = np.unique(values)
    if len(different) <= _SURELY:
        return _labels(name, values)
    counted = different[0] in (0, 1) and different[-1] - different[0] + 1 == len(different)
    if counted and len(values) >= _ROWS_OF_A_CLASS * len(different):
        return _labels(name, values)
    raise InvalidSpec(
        f"{name}: as the target has {len(different)} different whole numbers, which may be classes or numbers; write "
        'which: kind="classification" or kind="regression"'
    )


def _whole(values: NDArray[Any]) -> bool:
    """Whether all values are integers below 2**53, which float64 represents exactly; NaN and infinity are not."""
    return bool((np.abs(values) < _EXACT).all() and (values == np.round(values)).all())


def _texts(name: str, column: Column) -> Targets:
    order = sorted(range(len(column.words)), key=column.words.__getitem__)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    classes: list[Label] = [column.words[position] for position in order]
    return _checked(name, Targets(rank[column.values], classes), len(classes))


def _labels(name: str, values: NDArray[Any]) -> Targets:
    if values.ndim != 1:
        raise InvalidSpec(f"{name}: labels must be (rows,), one for each row, got shape {values.shape}")
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise InvalidSpec(f"{name}: labels must be finite, got {values[~np.isfinite(values)][0]}")
        if _whole(values):
            # In a file of floats, classes are floats with integer values.
            values = values.astype(np.int64)
    found, inverse = np.unique(values, return_inverse=True)
    try:
        codes, classes = inverse.astype(np.int64), list(found[: MAXIMUM_CLASSES + 1].tolist())
    except ValueError:
        # NumPy stores any 32 bits as a character.
        raise InvalidSpec(f"{name}: labels must be valid Unicode, got code points that do not exist") from None
    return _checked(name, Targets(codes, classes), len(classes))


def _checked(name: str, targets: Targets, count: int) -> Targets:
    classes = targets.classes or []
    if not 2 <= count <= MAXIMUM_CLASSES:
        only = f", {str(classes[int(targets.values[0])])[:40]!r} in every row" if count == 1 else ""
        raise InvalidSpec(f"{name}: there must be 2 to {MAXIMUM_CLASSES} classes, got {count}{only}")
    for label in classes:
        if isinstance(label, str) and not (len(label) <= LONGEST_LABEL and _is_plain(label)):
            raise InvalidSpec(
                f"{name}: a label must have at most {LONGEST_LABEL} characters, without NUL and surrogates, "
                f"got {label[:40]!r}"
            )
    return targets


def _is_plain(label: str) -> bool:
    return "\0" not in label and not any("\ud800" <= letter <= "\udfff" for letter in label)


def _numbers(name: str, values: NDArray[Any]) -> Targets:
    numbers = as_numbers(name, values)
    if numbers.ndim > 2 or not numbers[0:1].size:
        raise InvalidSpec(f"{name}: values must be (rows,) or (rows, outputs), got shape {values.shape}")
    table = numbers.reshape(len(numbers), -1).astype(np.float64)
    wrong = ~(np.abs(table) <= LARGEST)
    if wrong.any():
        row, position = (int(index) for index in np.argwhere(wrong)[0])
        raise InvalidSpec(
            f"{name}: must be finite, and at most 3.4e38 in size, got {table[row, position]} in row {row} "
            "(counted from 0)"
        )
    if table.shape[1] == 1 and len(table) > 1 and (table == table[0]).all():
        raise InvalidSpec(
            f"{name}: must not be constant as the target, got {table[0, 0]:g} in every row; "
            'write which column to predict: target="…"'
        )
    return Targets(table, None)


def as_numbers(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """The array as numbers of at most 8 bytes, booleans as 0 and 1; raises InvalidSpec."""
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
