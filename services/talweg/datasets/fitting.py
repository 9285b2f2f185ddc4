"""What a network is given for each column of a table: fitted on the training part, applied to every row."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from talweg.datasets.columns import Column, ColumnKind
from talweg.datasets.options import Json, Options
from talweg.datasets.targets import LARGEST
from talweg.errors import InvalidSpec

_EPOCH: Final = np.datetime64("1970-01-01", "D")
_PARTS: Final = ("ordinal", "weekday", "month", "seconds")
# Text columns with more different values in the training part than this share of its rows are names or free text.
_TEXT: Final = 0.5
# As in user_id, Order ID and PassengerId, but not in paid.
_ID: Final = re.compile(r"[_ .-](id|Id|ID)$|[a-z0-9](Id|ID)$")
_COUNTERS: Final = frozenset(("", "id", "index", "idx", "row", "rownum", "row_id", "rowid", "no", "nr", "number", "#"))


@dataclass(frozen=True)
class Scale:
    """One number that a column gives: (value − mean) / deviation; `fill` stands for missing ones, before that."""

    part: str
    fill: float
    mean: float
    deviation: float


@dataclass(frozen=True)
class Fitted:
    """What becomes of one column; everything but `missing` is measured on the training part.

    Attributes:
        taken: "number", "yes/no", "date", "category" or "left out".
        why: Why it is left out, or how it was read.
        missing: Rows without a value, of all rows.
        scales: The numbers that it gives: the value itself, or the parts of a date.
        indicator: Whether an input says where the value was missing.
        categories: Those with an input of their own, the most frequent first.
        others: Whether an input says that it is one of the rarer categories.
    """

    name: str
    taken: ColumnKind
    why: str = ""
    missing: int = 0
    example: str = ""
    different: int = 0
    scales: tuple[Scale, ...] = ()
    indicator: bool = False
    categories: tuple[str, ...] = ()
    others: bool = False

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs that it gives, in their order."""
        if self.taken == "category":
            names = [f"{self.name} = {one}" for one in self.categories]
            names += [f"{self.name}: another"] if self.others else []
        else:
            names = [self.name if scale.part == "value" else f"{self.name}: {scale.part}" for scale in self.scales]
        return [*names, f"{self.name}: missing"] if self.indicator else names

    def plain(self) -> Json:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_plain(cls, held: Json) -> "Fitted":
        """From JSON."""
        scales = tuple(Scale(**scale) for scale in held["scales"])
        return cls(**(held | {"scales": scales, "categories": tuple(held["categories"])}))


def fit(column: Column, training: NDArray[np.int64], options: Options) -> Fitted:
    """What becomes of a column, by its values in the rows for training; raises InvalidSpec for infinite numbers."""
    asked = options.columns.get(column.name) is not None
    if column.kind in ("left out", "empty"):
        note = column.note if column.kind == "left out" else "empty"
        return Fitted(column.name, "left out", note, missing=len(column.values), example=column.example)
    made = Fitted(column.name, column.kind, column.note, column.missing, column.example)
    if column.kind == "category":
        return _category(made, column, training, options, asked=asked)
    _check_finite(column)
    if not asked and column.kind == "number" and (why := _counter(column)):
        return replace(made, taken="left out", why=why)
    return _numbers(made, column, training, options)


def _check_finite(column: Column) -> None:
    wrong = np.abs(column.values) > LARGEST
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidSpec(
            f"column {column.name!r}: must be finite, and at most 3.4e38 in size, got {column.values[row]} in row "
            f'{row} (counted from 0); count it as missing: missing=["{column.values[row]}"]'
        )


def _counter(column: Column) -> str:
    """Why a column that only tells rows apart is left out; empty for any other."""
    values, name = column.values, column.name.lower().strip()
    unnamed = name.startswith(("unnamed: ", "column ")) and name.split()[-1].isdecimal()
    if not (unnamed or name in _COUNTERS or _ID.search(column.name)) or column.missing:
        return ""
    if len(values) > 1 and (np.diff(values) == 1).all():
        return "counts the rows"
    if not unnamed and (values == np.round(values)).all() and len(np.unique(values)) == len(values):
        return "an identifier: another number in each row"
    return ""


def _numbers(made: Fitted, column: Column, training: NDArray[np.int64], options: Options) -> Fitted:
    values = column.values[training]
    known = ~np.isnan(values)
    gaps = not known.all()
    made = replace(made, different=len(np.unique(values[known])))
    if not known.any():
        return replace(made, taken="left out", why="no value in the training part")
    scales = []
    for part in _PARTS if column.kind == "date" else ("value",):
        numbers = part_of(column.values, part)[training]
        # The more frequent of yes and no, the median of numbers.
        middle = float(np.median(numbers[known]))
        fill = float(round(middle)) if column.kind == "yes/no" else middle
        filled = np.where(known, numbers, fill)
        if (filled == filled[0]).all():
            continue
        scaled = options.standardise and column.kind != "yes/no"
        mean, deviation = (float(filled.mean()), float(filled.std())) if scaled else (0.0, 1.0)
        scales.append(Scale(part, fill, mean, deviation if deviation > 0 and np.isfinite(deviation) else 1.0))
    if not scales and not gaps:
        return replace(made, taken="left out", why=f"constant: {column.example}")
    return replace(made, scales=tuple(scales), indicator=gaps)


def _category(made: Fitted, column: Column, training: NDArray[np.int64], options: Options, *, asked: bool) -> Fitted:
    codes = column.values[training]
    counts = np.bincount(codes[codes >= 0], minlength=len(column.words))
    present = np.flatnonzero(counts)
    rows, gaps = int(counts.sum()), bool((codes < 0).any())
    made = replace(made, different=len(present))
    if not len(present):
        return replace(made, taken="left out", why="no value in the training part")
    if len(present) == 1 and not gaps:
        return replace(made, taken="left out", why=f"constant: {column.words[int(present[0])][:40]}")
    if not asked and len(present) > options.categories and len(present) > _TEXT * rows:
        what = "an identifier" if len(present) == rows else "names or free text"
        return replace(
            made, taken="left out", why=f"{what}: {len(present)} different texts in {rows} rows of the training part"
        )
    order = sorted(present.tolist(), key=lambda code: (-int(counts[code]), column.words[code]))
    kept = tuple(column.words[code] for code in order[: options.categories])
    return replace(made, categories=kept, others=len(order) > len(kept), indicator=gaps)


def part_of(values: NDArray[np.float64], part: str) -> NDArray[np.float64]:
    """(n,) the values, or a part of the dates that they are: days since 1970, weekday (Monday 0), month, seconds."""
    if part == "value":
        return values
    days = np.floor(values)
    if part == "ordinal":
        return days
    if part == "seconds":
        return np.asarray(np.round((values - days) * 86_400.0, 3))
    if part == "weekday":
        # The first of January 1970 was a Thursday.
        return np.asarray((days + 3) % 7)
    known = ~np.isnan(days)
    made = np.full(len(values), np.nan)
    months = (_EPOCH + days[known].astype(np.int64)).astype("datetime64[M]").astype(np.int64)
    made[known] = months % 12 + 1
    return made


def stored(column: Column, fitted: Fitted) -> NDArray[Any]:
    """(n,) what is kept of a column that gives inputs, in the narrowest type that holds its values exactly."""
    if fitted.taken == "category":
        place = {word: i for i, word in enumerate(fitted.categories)}
        others = len(place)
        table = np.array([place.get(word, others) for word in column.words] + [-1], np.int64)
        codes = table[column.values]
        return np.asarray(codes, np.int8 if others < 127 else np.int16)
    if fitted.taken == "yes/no":
        return np.asarray(np.nan_to_num(column.values, nan=-1), np.int8)
    with np.errstate(over="ignore"):
        single = column.values.astype(np.float32)
    return single if np.array_equal(single.astype(np.float64), column.values, equal_nan=True) else column.values


def inputs_of(held: NDArray[Any], fitted: Fitted, out: NDArray[np.float64]) -> None:
    """Write the inputs of a column, as it was `stored`, to `out` (n, inputs), in place."""
    position = 0
    if fitted.taken == "category":
        missing = held < 0
        for position in range(len(fitted.categories) + fitted.others):
            out[:, position] = held == position
        position = len(fitted.categories) + fitted.others
    else:
        values = held.astype(np.float64)
        if fitted.taken == "yes/no":
            values[held < 0] = np.nan
        missing = np.isnan(values)
        for position, scale in enumerate(fitted.scales):
            numbers = part_of(values, scale.part)
            out[:, position] = (np.where(missing, scale.fill, numbers) - scale.mean) / scale.deviation
        position = len(fitted.scales)
    if fitted.indicator:
        out[:, position] = missing


def matrix(held: Sequence[NDArray[Any]], fitted: Sequence[Fitted], rows: int) -> NDArray[np.float64]:
    """(rows, inputs): the inputs of all columns that give some."""
    widths = [len(one.inputs) for one in fitted]
    out = np.empty((rows, sum(widths)))
    start = 0
    for values, one, width in zip(held, fitted, widths, strict=True):
        inputs_of(values, one, out[:, start : start + width])
        start += width
    return out


@dataclass(frozen=True)
class TargetScale:
    """Targets that are numbers are (value − mean) / deviation, by output, measured on the training part."""

    mean: list[float] = field(default_factory=list)
    deviation: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "TargetScale":
        """From the targets (n, outputs) of the training part."""
        deviation = values.std(axis=0)
        usable = np.where((deviation > 0) & np.isfinite(deviation), deviation, 1.0)
        return cls(values.mean(axis=0).tolist(), usable.tolist())

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The scaled targets."""
        return np.asarray((values - np.array(self.mean)) / np.array(self.deviation))
