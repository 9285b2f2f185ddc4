"""Read text tables by column, with Arrow's parser, in blocks."""

from collections.abc import Iterator
from typing import IO, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from talweg.datasets import dialect as dialects
from talweg.datasets.arrow_columns import Table, checked_names, column_of_text
from talweg.datasets.columns import MISSING, Column, from_numbers, left_out
from talweg.datasets.dialect import Dialect
from talweg.datasets.opening import TextFile
from talweg.datasets.options import MAXIMUM_LINE, MAXIMUM_ROWS, Options
from talweg.errors import InvalidSpec, TooLarge

# Bytes of text that are parsed at once; more where there are many columns, since each block costs time per column.
_BLOCK: Final = 1 << 22
_BLOCK_COLUMN: Final = 1 << 12
_LEADING_ZERO: Final = r"^\s*[+-]?0\d"


class _Text(Exception):
    """Columns begin with numbers and go on with other texts: they must be read as text from their start."""

    def __init__(self, names: set[str]) -> None:
        self.names = names


def read_csv(handle: IO[bytes], options: Options) -> Table:
    """The table in a text file; raises InvalidSpec or TooLarge."""
    file = TextFile.of(handle, options.text_maximum or options.maximum, options.encoding)
    found = dialects.find(file.head(dialects.SAMPLE), options)
    if found.comments:
        file.filters.append(dialects.without_comments)
    if found.spaces:
        file.filters.append(dialects.with_tabs)
    names, notes = checked_names(found.names, options)
    texts: set[str] = {name for name, taken in options.columns.items() if taken not in ("number", "leave out")}
    newlines = False
    while True:
        reader = _Reader(file, found, names, options, texts, newlines)
        try:
            columns = reader.columns()
        except _Text as more:
            texts |= more.names
            continue
        except _Newline:
            newlines = True
            continue
        return Table(columns, [*file.notes, *found.notes, *notes])


class _Newline(Exception):
    """A quoted value has a line break."""


class _Reader:
    """One pass over the table: each column as chunks of numbers, or as chunks of text in dictionaries."""

    def __init__(
        self, file: TextFile, dialect: Dialect, names: list[str], options: Options, texts: set[str], newlines: bool
    ) -> None:
        self._file, self._dialect, self._names, self._options = file, dialect, names, options
        self._texts, self._newlines = texts, newlines
        self._wanted = [name for name in names if options.columns.get(name) != "leave out"]
        self._missing = pa.array(sorted({*MISSING, *(word.lower() for word in options.missing)}), pa.string())
        self._invalid: str | None = None
        self._needs_newlines = False
        self._rows = self._bytes = 0

    def columns(self) -> list[Column]:
        """Every column; raises InvalidSpec, TooLarge, or that the table must be read in another way."""
        chunks: dict[str, list[Any]] = {name: [] for name in self._wanted}
        other: set[str] = set()
        for batch in self._batches():
            first = self._rows == 0
            self._rows += batch.num_rows
            if self._rows > MAXIMUM_ROWS:
                raise TooLarge(f"csv: must have at most {MAXIMUM_ROWS} rows, got more")
            for name, values in zip(self._wanted, batch.columns, strict=True):
                chunk = None if name in self._texts or name in other else self._numbers(values, first=first)
                if chunk is None:
                    # Numbers before it have lost their texts: read the column again, unless it is still empty.
                    if not first and name not in self._texts:
                        other.add(name)
                        chunks[name].clear()
                        continue
                    self._texts.add(name)
                    chunk = pc.dictionary_encode(values)
                self._bytes += chunk.nbytes
                chunks[name].append(chunk)
            if self._bytes > self._limit:
                raise TooLarge(
                    f"dataset: must take at most {self._options.maximum} bytes, got more by row {self._rows}"
                )
        if other:
            raise _Text(other)
        return [self._column(name, chunks.get(name)) for name in self._names]

    @property
    def _limit(self) -> int:
        return 2 * self._options.maximum

    def _column(self, name: str, chunks: list[Any] | None) -> Column:
        taken = self._options.columns.get(name)
        if chunks is None:
            return left_out(name, self._rows, "as asked")
        if name in self._texts:
            return column_of_text(name, chunks, self._options, self._dialect.decimal)
        values = np.concatenate(chunks) if chunks else np.empty(0)
        chunks.clear()
        return from_numbers(name, values, taken)

    def _numbers(self, values: Any, *, first: bool) -> NDArray[np.float64] | None:
        """The chunk as numbers, NaN where missing; None where it holds other texts."""
        if first and pc.any(pc.match_substring_regex(values.slice(0, 1000), _LEADING_ZERO + r"+$")).as_py():
            return None
        if self._dialect.decimal == ",":
            if pc.any(pc.match_substring(values, ".")).as_py():
                return None
            values = pc.replace_substring(values, ",", ".")
        try:
            return np.asarray(pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False))
        except pa.ArrowInvalid:
            pass
        values = pc.utf8_trim_whitespace(values)
        empty = pc.is_in(pc.utf8_lower(values), self._missing)
        try:
            numbers = pc.cast(pc.if_else(empty, None, values), pa.float64())
        except pa.ArrowInvalid:
            return None
        return np.asarray(numbers.to_numpy(zero_copy_only=False))

    def _batches(self) -> Iterator[Any]:
        names = self._names
        size = max(_BLOCK, _BLOCK_COLUMN * len(names), MAXIMUM_LINE + 1)
        try:
            with self._file.open() as stream:
                for _ in range(self._dialect.skip):
                    stream.readline()
                if not stream.peek(1):  # type: ignore[attr-defined]  # a BufferedReader
                    return
                reader = arrow_csv.open_csv(
                    stream,
                    read_options=arrow_csv.ReadOptions(use_threads=False, block_size=size, column_names=names),
                    parse_options=arrow_csv.ParseOptions(
                        delimiter=self._dialect.delimiter,
                        quote_char=self._dialect.quote,
                        newlines_in_values=self._newlines,
                        invalid_row_handler=self._refuse,
                    ),
                    convert_options=arrow_csv.ConvertOptions(
                        column_types=dict.fromkeys(names, pa.string()),
                        strings_can_be_null=False,
                        include_columns=self._wanted,
                    ),
                )
                yield from reader
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            if self._needs_newlines:
                raise _Newline from None
            if self._invalid is not None:
                raise InvalidSpec(self._invalid) from None
            raise InvalidSpec(f"csv: cannot be read: {str(error)[:200]}") from None

    def _refuse(self, row: Any) -> str:
        if not row.text.strip():
            return "skip"
        if row.text.count(self._dialect.quote) % 2 and not self._newlines:
            # An exception from here would be printed and lost.
            self._needs_newlines = True
            return "error"
        line = "" if row.number is None else f"line {row.number + self._dialect.skip}: "
        self._invalid = (
            f"csv: {line}must have {row.expected_columns} values, as the first line has names, "
            f"got {row.actual_columns}: {row.text[:80]!r}; a value with {self._dialect.delimiter!r} in it must be in "
            "quotes"
        )
        return "error"
