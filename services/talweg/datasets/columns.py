"""Columns of a table, from CSV or Parquet, as arrays: numbers as they are, text as codes of its distinct values."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from talweg.datasets.options import LONGEST_LABEL, MAXIMUM_CLASSES, MAXIMUM_COLUMNS
from talweg.datasets.preparing import Column, Text
from talweg.errors import InvalidSpec


def check_names(names: list[str]) -> None:
    """Raises InvalidSpec where there are too few or too many columns, or two of one name."""
    if not 2 <= len(names) <= MAXIMUM_COLUMNS:
        raise InvalidSpec(f"columns: there must be 2 to {MAXIMUM_COLUMNS}, one of them the target, got {len(names)}")
    seen: set[str] = set()
    for name in names:
        if not name or len(name) > LONGEST_LABEL or not name.isprintable():
            raise InvalidSpec(f"columns: a name must have 1 to {LONGEST_LABEL} printable characters, got {name[:80]!r}")
        if name in seen:
            raise InvalidSpec(f"columns: each name must differ from the others, got {name!r} twice")
        seen.add(name)


def target_of(names: list[str], target: str | None) -> str:
    """The target's name: the last column where none is named; raises InvalidSpec."""
    if target is None:
        return names[-1]
    if target not in names:
        raise InvalidSpec(f"target: must be one of the columns {', '.join(names)[:200]}, got {target[:80]!r}")
    return target


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds text."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type holds numbers or truth values."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def check_type(name: str, kind: pa.DataType, *, is_target: bool) -> None:
    """Raises InvalidSpec where inputs are not numbers, or a target neither numbers nor text."""
    if not (is_number(kind) or (is_target and is_text(kind))):
        allowed = "numbers or text" if is_target else "numbers"
        raise InvalidSpec(f"column {name!r}: must hold {allowed}, got {str(kind)[:80]}")


def column(name: str, values: pa.ChunkedArray) -> Column:
    """One column as an array; raises InvalidSpec where a value is missing."""
    if values.null_count:
        row = pc.index(pc.is_null(values), True).as_py()
        raise InvalidSpec(f"column {name!r}: must have a value in every row, row {row} (counted from 0) has none")
    if not is_text(values.type):
        return np.asarray(values.to_numpy())
    encoded = pc.dictionary_encode(values.cast(pa.string())).combine_chunks()
    if len(encoded.dictionary) > MAXIMUM_CLASSES:
        raise InvalidSpec(
            f"column {name!r}: must have at most {MAXIMUM_CLASSES} different labels, got {len(encoded.dictionary)}"
        )
    return Text(np.asarray(encoded.indices.to_numpy(), dtype=np.int64), encoded.dictionary.to_pylist())
