"""Columns from Arrow: the names and types of a table, and chunks of texts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from talweg.datasets.columns import Column, from_numbers, from_texts, left_out
from talweg.datasets.options import LONGEST_LABEL, MAXIMUM_COLUMNS, MAXIMUM_LINE, Options
from talweg.errors import InvalidSpec, TooLarge
from talweg.validation import did_you_mean

UNNAMED: Final = "column "
_DAY: Final = 86_400.0


@dataclass
class Table:
    """The columns of a file, all of equal length, and what was found out about how it is written."""

    columns: list[Column]
    notes: list[str] = field(default_factory=list)


def checked_names(names: Sequence[str], options: Options) -> tuple[list[str], list[str]]:
    """The names, those without one numbered, and notes; raises InvalidSpec for bad or repeated names, TooLarge."""
    if len(names) > MAXIMUM_COLUMNS:
        raise TooLarge(f"columns: there must be at most {MAXIMUM_COLUMNS}, got {len(names)}")
    if len(names) < 2:
        raise InvalidSpec(
            f"columns: there must be 2 at least, one of them the target, got {len(names)} ({', '.join(names)[:80]!r})"
        )
    made, notes = [], []
    for position, name in enumerate(names, start=1):
        if not name:
            notes.append(f"column {position} has no name")
        made.append(name or f"{UNNAMED}{position}")
        if len(name) > LONGEST_LABEL or not made[-1].isprintable():
            raise InvalidSpec(
                f"columns: a name must have 1 to {LONGEST_LABEL} printable characters, got {name[:80]!r} as that of "
                f"column {position}; write another name in the first line"
            )
    for position, name in enumerate(made):
        if (before := made.index(name)) != position:
            raise InvalidSpec(
                f"columns: each name must differ from the others, got {name!r} for columns {before + 1} and "
                f"{position + 1} (counted from 1); rename one of them, to {name + '_2'!r} for instance"
            )
    asked: list[tuple[str | None, str]] = [(name, "columns") for name in options.columns]
    asked += [(getattr(options, key), key) for key in ("target", "groups", "order_by", "split")]
    for one, where in asked:
        if one is not None and one not in made:
            hint = did_you_mean(one, made)
            raise InvalidSpec(f"{where}: must be one of the columns {', '.join(made)[:200]}, got {one[:80]!r}{hint}")
    return made, notes


def column_of_text(name: str, chunks: list[Any], options: Options, decimal: Literal[".", ","] = ".") -> Column:
    """A column from chunks in dictionaries; raises InvalidSpec."""
    if not chunks:
        return from_texts(name, np.empty(0, np.int64), [], options, decimal)
    whole = pa.chunked_array(chunks).unify_dictionaries()
    codes = np.concatenate(
        [np.asarray(pc.fill_null(chunk.indices, -1).to_numpy(zero_copy_only=False), np.int64) for chunk in whole.chunks]
    )
    chunks.clear()
    dictionary = whole.chunk(0).dictionary
    if len(dictionary) and (longest := pc.max(pc.binary_length(dictionary)).as_py() or 0) > MAXIMUM_LINE:
        raise TooLarge(f"column {name!r}: a text must have at most {MAXIMUM_LINE} bytes, got one of {longest}")
    words = dictionary.to_pylist()
    if None in words:
        codes[codes == words.index(None)] = -1
        words = ["" if word is None else word for word in words]
    return from_texts(name, codes, words, options, decimal, target=name == options.target)


def column_of(name: str, values: Any, options: Options) -> Column:
    """A column of any type of Arrow; raises InvalidSpec for nested and binary ones."""
    taken, kind = options.columns.get(name), values.type
    if taken == "leave out":
        return left_out(name, len(values), "as asked")
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        if not _is_text(kind):
            values = values.cast(kind)
    if _is_text(kind):
        chunks = [_encoded(chunk) for chunk in values.chunks]
        return column_of_text(name, chunks, options)
    if pa.types.is_null(kind):
        return from_numbers(name, np.full(len(values), np.nan), taken)
    boolean = pa.types.is_boolean(kind)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        numbers = _as_float(name, values.cast(pa.timestamp("us"), safe=False).cast(pa.int64())) / (1e6 * _DAY)
        return _dated(name, numbers)
    if pa.types.is_time(kind):
        unit = pa.time64("us")
        return from_numbers(name, _as_float(name, values.cast(unit, safe=False).cast(pa.int64())) / 1e6, taken)
    if pa.types.is_duration(kind):
        whole = values.cast(pa.duration("us"), safe=False).cast(pa.int64())
        return from_numbers(name, _as_float(name, whole) / 1e6, taken)
    if boolean or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return from_numbers(name, _as_float(name, values), taken, boolean=boolean)
    raise InvalidSpec(
        f"column {name!r}: must hold numbers, text, dates or yes/no, got {str(kind)[:80]}; "
        f'leave it out, columns={{"{name}": "leave out"}}, or make columns of its parts before the upload'
    )


def _dated(name: str, days: Any) -> Column:
    known = days[~np.isnan(days)]
    if not len(known):
        return Column(name, "empty", days)
    example = str(np.datetime64(round(float(known[0]) * 86_400), "s")).removesuffix("T00:00:00")
    return Column(name, "date", days, example=example)


def _is_text(kind: Any) -> bool:
    """Text, or bytes, which some programs write in its place; bytes that are not UTF-8 cannot be read."""
    types = pa.types
    return any(
        one(kind)
        for one in (
            types.is_string,
            types.is_large_string,
            types.is_string_view,
            types.is_binary,
            types.is_large_binary,
        )
    )


def _encoded(chunk: Any) -> Any:
    if pa.types.is_dictionary(chunk.type):
        # Two casts: none of a whole dictionary takes every type of index and text.
        return pa.DictionaryArray.from_arrays(chunk.indices.cast(pa.int32()), chunk.dictionary.cast(pa.string()))
    return pc.dictionary_encode(chunk.cast(pa.string()))


def _as_float(name: str, values: Any) -> Any:
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    made = values.cast(pa.float64(), safe=False)
    return np.asarray(made.to_numpy(zero_copy_only=False) if isinstance(made, pa.Array) else made.to_numpy())
