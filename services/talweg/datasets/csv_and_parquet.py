"""Read CSV and Parquet tables by column, with Arrow."""

from typing import IO, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv
from pyarrow import parquet as arrow_parquet

from talweg.datasets.preparing import (
    LONGEST_LABEL,
    MAXIMUM_CLASSES,
    MAXIMUM_COLUMNS,
    MAXIMUM_LINE,
    MAXIMUM_ROWS,
    Column,
    Text,
)
from talweg.errors import InvalidSpec, TooLarge

_PIECE: Final = 1 << 20
_DELIMITERS: Final = (",", ";", "\t")
_BOM: Final = b"\xef\xbb\xbf"
_BATCH: Final = 16_384
# Limits of the parser of the footer (bytes of a string, items of a list): enough for thousands of columns.
_STRING_LIMIT, _CONTAINER_LIMIT = 10_000_000, 1_000_000


def check_names(names: list[str]) -> None:
    """Raise InvalidSpec where there are too few or too many columns, a bad name, or the same name twice."""
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
    """The target column's name, by default the last column; raises InvalidSpec."""
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
    """Whether a column of this type holds numbers or booleans."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def check_type(name: str, kind: pa.DataType, *, is_target: bool) -> None:
    """Raise InvalidSpec where an input is not numeric, or the target is neither numeric nor text."""
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


def read_csv(handle: IO[bytes], target: str | None) -> tuple[dict[str, Column], str]:
    """The columns by name, and the target's name; raises InvalidSpec or TooLarge."""
    _scan(handle)
    handle.seek(0)
    first = handle.readline(MAXIMUM_LINE).removeprefix(_BOM).decode("utf-8", "replace").strip("\r\n")
    handle.seek(0)
    delimiter = max(_DELIMITERS, key=first.count)
    # A quoted name may contain the delimiter: the count is an upper bound.
    if first.count(delimiter) >= MAXIMUM_COLUMNS:
        raise TooLarge(f"csv: must have at most {MAXIMUM_COLUMNS} columns, got {first.count(delimiter) + 1}")
    try:
        table = arrow_csv.read_csv(
            handle,
            read_options=arrow_csv.ReadOptions(use_threads=False),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter),
            # Empty text counts as missing, like an empty number.
            convert_options=arrow_csv.ConvertOptions(strings_can_be_null=True, null_values=["", "NA", "N/A", "null"]),
        )
        names = list(table.column_names)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        raise InvalidSpec(f"csv: cannot be read: {str(error)[:200]}") from None
    if names and all(_is_number(name) for name in names):
        raise InvalidSpec(f"csv: the first line must name the columns, got {first[:80]!r}")
    check_names(names)
    chosen = target_of(names, target)
    for name in names:
        check_type(name, table.schema.field(name).type, is_target=name == chosen)
    return {name: column(name, table.column(name)) for name in names}, chosen


def _scan(handle: IO[bytes]) -> None:
    """Raise InvalidSpec for NULs, TooLarge for too long lines or too many, in one pass over pieces of 1 MiB."""
    length = lines = 0
    while piece := handle.read(_PIECE):
        if b"\0" in piece:
            raise InvalidSpec("csv: must be text, got a NUL")
        parts = piece.split(b"\n")
        longest = max(length + len(parts[0]), *(len(part) for part in parts[1:]), 0)
        if longest > MAXIMUM_LINE:
            raise TooLarge(f"csv: a line must have at most {MAXIMUM_LINE} bytes, line {lines + 1} or after has more")
        length = len(parts[-1]) + (length if len(parts) == 1 else 0)
        lines += len(parts) - 1
        if lines > MAXIMUM_ROWS:
            raise TooLarge(f"csv: must have at most {MAXIMUM_ROWS} lines, got more")


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def read_parquet(handle: IO[bytes], target: str | None, maximum: int) -> tuple[dict[str, Column], str]:
    """The columns by name, and the target's name; raises InvalidSpec or TooLarge."""
    try:
        file = arrow_parquet.ParquetFile(
            handle,
            memory_map=False,
            pre_buffer=False,
            thrift_string_size_limit=_STRING_LIMIT,
            thrift_container_size_limit=_CONTAINER_LIMIT,
        )
        schema = file.schema_arrow
        names = list(schema.names)
        check_names(names)
        chosen = target_of(names, target)
        for field in schema:
            check_type(field.name, field.type, is_target=field.name == chosen)
        table = pa.Table.from_batches(list(_batches(file, maximum)), schema)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidSpec(f"parquet: cannot be read: {str(error)[:200]}") from None
    return {name: column(name, table.column(name)) for name in names}, chosen


def _batches(file: arrow_parquet.ParquetFile, maximum: int) -> "list[pa.RecordBatch]":
    """Every row; raises TooLarge at the first batch past the limits."""
    found, rows, taken = [], 0, 0
    for batch in file.iter_batches(batch_size=_BATCH, use_threads=False):
        rows, taken = rows + batch.num_rows, taken + batch.nbytes
        if rows > MAXIMUM_ROWS or taken > maximum:
            raise TooLarge(
                f"parquet: must unpack to at most {maximum} bytes and {MAXIMUM_ROWS} rows, "
                f"got more by row {rows} of the {file.metadata.num_rows} that it claims"
            )
        found.append(batch)
    return found
