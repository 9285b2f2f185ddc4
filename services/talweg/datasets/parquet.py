"""Parquet: types are looked at before data, and rows are counted as they come, since a footer may say anything."""

from typing import IO, Final

import pyarrow as pa
from pyarrow import parquet as arrow

from talweg.datasets.columns import check_names, check_type, column, target_of
from talweg.datasets.options import MAXIMUM_ROWS
from talweg.datasets.preparing import Column
from talweg.errors import InvalidSpec, TooLarge

_BATCH: Final = 16_384
# What the footer's own parser may allocate: names and lists of a table of some thousand columns.
_STRING_LIMIT, _CONTAINER_LIMIT = 10_000_000, 1_000_000


def read_parquet(handle: IO[bytes], target: str | None, maximum: int) -> tuple[dict[str, Column], str]:
    """The columns by name, and which is the target; raises InvalidSpec or TooLarge."""
    try:
        file = arrow.ParquetFile(
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


def _batches(file: arrow.ParquetFile, maximum: int) -> "list[pa.RecordBatch]":
    """Every row, as long as they are few enough; raises TooLarge at the first one that is too many."""
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
