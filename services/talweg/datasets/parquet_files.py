"""Read Parquet files and Arrow streams by column."""

from collections.abc import Iterable
from typing import IO, Any, Final

import pyarrow as pa
from pyarrow import ipc
from pyarrow import parquet as arrow_parquet

from talweg.datasets.arrow_columns import Table, checked_names, column_of
from talweg.datasets.options import MAXIMUM_ROWS, Options
from talweg.errors import InvalidSpec, TooLarge

_BATCH: Final = 16_384
# Limits of the parser of the footer (bytes of a string, items of a list): enough for thousands of columns.
_STRING_LIMIT, _CONTAINER_LIMIT = 10_000_000, 1_000_000
_DAMAGE: Final = (pa.ArrowException, OSError, ValueError, OverflowError)


def read_parquet(handle: IO[bytes], options: Options) -> Table:
    """The table in a Parquet file; raises InvalidSpec or TooLarge."""
    try:
        file = arrow_parquet.ParquetFile(
            handle,
            memory_map=False,
            pre_buffer=False,
            thrift_string_size_limit=_STRING_LIMIT,
            thrift_container_size_limit=_CONTAINER_LIMIT,
        )
        schema = file.schema_arrow
        names, notes = checked_names(list(schema.names), options)
        wanted = [name for name in names if options.columns.get(name) != "leave out"]
        _check_types(schema, names, options)
        # Columns are chosen by their names in the file, which are those above where they have one.
        chosen = [own for own, name in zip(schema.names, names, strict=True) if name in wanted]
        batches = file.iter_batches(batch_size=_BATCH, use_threads=False, columns=chosen)
        claimed = f" of the {file.metadata.num_rows} that it claims"
        table = _limited("parquet", batches, pa.schema([schema.field(own) for own in chosen]), options, claimed)
    except _DAMAGE as error:
        raise InvalidSpec(f"parquet: cannot be read: {str(error)[:200]}") from None
    return _columns(table, names, wanted, options, notes)


def read_arrow(handle: IO[bytes], options: Options) -> Table:
    """The table in an Arrow file (Feather) or stream; raises InvalidSpec or TooLarge."""
    try:
        as_file = handle.read(6) == b"ARROW1"
        handle.seek(0)
        reader = ipc.open_file(handle) if as_file else ipc.open_stream(handle)
        schema = reader.schema
        names, notes = checked_names(list(schema.names), options)
        _check_types(schema, names, options)
        batches = (reader.get_batch(i) for i in range(reader.num_record_batches)) if as_file else reader
        table = _limited("arrow", batches, schema, options, "")
    except _DAMAGE as error:
        raise InvalidSpec(f"arrow: cannot be read: {str(error)[:200]}") from None
    return _columns(table, names, names, options, notes)


def _check_types(schema: Any, names: list[str], options: Options) -> None:
    """Raise InvalidSpec for a column of a type that is not read, before any row is."""
    for name, own in zip(names, schema, strict=True):
        empty = pa.chunked_array([], own.type)
        column_of(name, empty, options)


def _limited(form: str, batches: Iterable[Any], schema: Any, options: Options, claimed: str) -> Any:
    """Every row; raises TooLarge at the first batch past the limits."""
    found, rows, taken = [], 0, 0
    for batch in batches:
        # Offsets and positions in a hostile file may point outside of its buffers.
        batch.validate(full=True)
        rows, taken = rows + batch.num_rows, taken + batch.nbytes
        if rows > MAXIMUM_ROWS or taken > options.maximum:
            raise TooLarge(
                f"{form}: must unpack to at most {options.maximum} bytes and {MAXIMUM_ROWS} rows, "
                f"got more by row {rows}{claimed}"
            )
        found.append(batch)
    return pa.Table.from_batches(found, schema)


def _columns(table: Any, names: list[str], wanted: list[str], options: Options, notes: list[str]) -> Table:
    position = {name: i for i, name in enumerate(wanted)}
    columns = []
    for name in names:
        values = table.column(position[name]) if name in position else pa.chunked_array([], pa.null())
        try:
            columns.append(column_of(name, values, options))
        except pa.ArrowException as error:
            raise InvalidSpec(f"column {name!r}: cannot be read: {str(error)[:200]}") from None
    return Table(columns, notes)
