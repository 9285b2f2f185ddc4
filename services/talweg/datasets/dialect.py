"""Find how a text table is written: its delimiter, quotes, decimal separator, comments and the names of its columns."""

import csv
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Literal

from talweg.datasets.options import MAXIMUM_COLUMNS, Options
from talweg.errors import InvalidSpec, TooLarge

SAMPLE: Final = 1 << 18
_LINES: Final = 200
_DELIMITERS: Final = (",", ";", "\t", "|")
_WORDS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
_QUOTED: Final = re.compile(r'"(?:[^"]|"")*"')
_NUMBER: Final = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")
# A comma that can only be a decimal one: not before exactly three digits, or after a leading zero.
_DECIMAL_COMMA: Final = re.compile(r"[+-]?(\d*,(\d{1,2}|\d{4,})|0,\d+|\d{4,},\d+|\d{1,3}(\.\d{3})+,\d+)")
_POINT: Final = re.compile(r"[+-]?(\d*\.(\d{1,2}|\d{4,})|0\.\d+|\d{4,}\.\d+|\d{1,3}(,\d{3})+\.\d+)")
_EXCEL_HINT: Final = re.compile(r"sep=(.)\r?\n?$")
_COMMENT: Final = re.compile(rb"(?m)^#[^\n]*(\n|\Z)")
_SPACES: Final = re.compile(rb"(?m)^[ \t]+|[ \t]+$|[ \t]+")


@dataclass(frozen=True)
class Dialect:
    """How a table is written.

    Attributes:
        names: Of the columns, "" where a column has none.
        skip: Lines before the first row.
        comments: Whether lines that begin with # are left out.
        spaces: Whether runs of spaces separate the columns; they are made tabs first.
        notes: What was found that is not the usual, in words.
    """

    delimiter: str
    quote: str
    decimal: Literal[".", ","]
    names: list[str]
    skip: int
    comments: bool
    spaces: bool
    notes: list[str] = field(default_factory=list)


def find(sample: str, options: Options) -> Dialect:
    """How the table that begins with `sample` is written; raises InvalidSpec or TooLarge."""
    lines = sample.splitlines(keepends=True)
    comments = _has_comments(lines)
    if comments:
        lines = [line for line in lines if not line.startswith("#")]
    skip, hint = 0, None
    if lines and (found := _EXCEL_HINT.match(lines[0])):
        skip, hint = 1, found[1]
    while skip < len(lines) and not lines[skip].strip():
        skip += 1
    body = [line.rstrip("\r\n") for line in lines[skip : skip + _LINES] if line.strip()]
    if not body:
        raise InvalidSpec("csv: must hold a line with the columns' names and a line for each row, got no text")
    delimiter = hint or _delimiter(body)
    spaces = delimiter == " "
    if body[0].count(delimiter) >= MAXIMUM_COLUMNS and not spaces:
        raise TooLarge(f"csv: must have at most {MAXIMUM_COLUMNS} columns, got {body[0].count(delimiter) + 1}")
    if spaces:
        body, delimiter = [re.sub(r"[ \t]+", "\t", line.strip()) for line in body], "\t"
    quote = _quote(body, delimiter)
    rows = [_fields(line, delimiter, quote) for line in body]
    header = not _is_data(rows[0]) if options.header is None else options.header
    if options.header is None and not header:
        raise InvalidSpec(
            f"csv: the first line must name the columns, got {body[0][:80]!r}; where the table has no such line, "
            "upload it with header=False: its columns are then called c1, c2, …"
        )
    width = max((len(row) for row in rows[1:]), default=len(rows[0]))
    names = [name.strip() for name in rows[0]] if header else [f"c{i}" for i in range(1, width + 1)]
    notes = [f"columns separated by {_WORDS.get(' ' if spaces else delimiter, repr(delimiter))}"]
    if header and len(rows) > 1 and all(len(row) == len(names) + 1 for row in rows[1:]):
        # R writes no name for its row names; other programs end each row, but not the first line, with a delimiter.
        last = all(not row[-1].strip() for row in rows[1:])
        names = [*names, ""] if last else ["", *names]
    decimal = options.decimal or _decimal([cell for row in rows[1:] for cell in row], delimiter)
    if decimal == ",":
        notes.append("decimal commas")
    if comments:
        notes.append("lines that begin with # left out")
    if not header:
        notes.append("no line with names: columns are called c1, c2, …")
    return Dialect(delimiter, quote, decimal, names, skip + header, comments, spaces, notes)


def without_comments(lines: bytes) -> bytes:
    """The lines that do not begin with #."""
    return _COMMENT.sub(b"", lines)


def with_tabs(lines: bytes) -> bytes:
    """The lines with a tab for each run of spaces, and none at either end."""

    def tab(match: re.Match[bytes]) -> bytes:
        line = match.string
        at_end = match.end() == len(line) or line[match.end() : match.end() + 1] in (b"\n", b"\r")
        at_start = match.start() == 0 or line[match.start() - 1 : match.start()] == b"\n"
        return b"" if at_start or at_end else b"\t"

    return _SPACES.sub(tab, lines)


def _has_comments(lines: list[str]) -> bool:
    """Whether lines that begin with # are comments; a first line such as `#id,a,b` names columns."""
    marked = [line for line in lines if line.startswith("#")]
    if not marked:
        return False
    plain = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    names_columns = any(plain.count(d) and plain.count(d) == marked[-1].count(d) for d in _DELIMITERS)
    return not (len(marked) == 1 and names_columns)


def _delimiter(body: list[str]) -> str:
    """The character that most lines have equally often; of several, the one that they have most often."""
    plain = [_QUOTED.sub("", line) for line in body]
    best, score = "", (0.0, 0)
    for delimiter in _DELIMITERS:
        counts = Counter(line.count(delimiter) for line in plain)
        counts.pop(0, None)
        if not counts:
            continue
        count, lines = counts.most_common(1)[0]
        # The first line decides between equals: a decimal comma is in numbers, but not in names.
        share = lines / len(plain) + (0.5 if plain[0].count(delimiter) in (count, count - 1, count + 1) else 0)
        if plain[0].count(delimiter) == 0:
            share -= 1
        if (share, count) > score:
            best, score = delimiter, (share, count)
    if best:
        return best
    widths = Counter(len(line.split()) for line in plain)
    width, lines = widths.most_common(1)[0]
    return " " if width > 1 and lines * 10 >= len(plain) * 9 else ","


def _quote(body: list[str], delimiter: str) -> str:
    """Single quotes where cells are in them and none is in double quotes."""
    single = re.compile(rf"(^|{re.escape(delimiter)})'[^']*'(?={re.escape(delimiter)}|$)")
    return "'" if not any('"' in line for line in body) and any(single.search(line) for line in body) else '"'


def _fields(line: str, delimiter: str, quote: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, quotechar=quote), [])
    except csv.Error:
        return line.split(delimiter)


def _is_data(cells: list[str]) -> bool:
    """Whether a first line holds numbers, as a row does, and no names."""
    named = [cell.strip() for cell in cells if cell.strip()]
    return bool(named) and sum(bool(_NUMBER.fullmatch(cell)) for cell in named) * 2 > len(named)


def _decimal(cells: list[str], delimiter: str) -> Literal[".", ","]:
    """A comma where numbers have commas that can only be decimal ones, or in a table without commas between columns
    numbers have commas and none has a point.
    """
    trimmed = [cell.strip() for cell in cells]
    if sum(bool(_DECIMAL_COMMA.fullmatch(cell)) for cell in trimmed) > sum(
        bool(_POINT.fullmatch(cell)) for cell in trimmed
    ):
        return ","
    numbers = [cell for cell in trimmed if _NUMBER.fullmatch(cell)]
    commas, points = sum("," in cell for cell in numbers), sum("." in cell for cell in numbers)
    return "," if delimiter != "," and commas and not points else "."
