"""CSV with a first line of names. The shape of the text is looked at before a parser sees it."""

from typing import IO, Final

import pyarrow as pa
from pyarrow import csv as arrow

from talweg.datasets.columns import check_names, check_type, column, target_of
from talweg.datasets.options import MAXIMUM_COLUMNS, MAXIMUM_LINE, MAXIMUM_ROWS
from talweg.datasets.preparing import Column
from talweg.errors import InvalidSpec, TooLarge

_PIECE: Final = 1 << 20
_DELIMITERS: Final = (",", ";", "\t")
_BOM: Final = b"\xef\xbb\xbf"


def read_csv(handle: IO[bytes], target: str | None) -> tuple[dict[str, Column], str]:
    """The columns by name, and which is the target; raises InvalidSpec or TooLarge."""
    _scan(handle)
    handle.seek(0)
    first = handle.readline(MAXIMUM_LINE).removeprefix(_BOM).decode("utf-8", "replace").strip("\r\n")
    handle.seek(0)
    delimiter = max(_DELIMITERS, key=first.count)
    # A quoted name may hold one; this only has to be no less than what there is.
    if first.count(delimiter) >= MAXIMUM_COLUMNS:
        raise TooLarge(f"csv: must have at most {MAXIMUM_COLUMNS} columns, got {first.count(delimiter) + 1}")
    try:
        table = arrow.read_csv(
            handle,
            read_options=arrow.ReadOptions(use_threads=False),
            parse_options=arrow.ParseOptions(delimiter=delimiter),
            # Missing text is as missing as a missing number.
            convert_options=arrow.ConvertOptions(strings_can_be_null=True, null_values=["", "NA", "N/A", "null"]),
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
    """Raises InvalidSpec or TooLarge for NULs, endless lines and endless files, in one pass over small pieces."""
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
