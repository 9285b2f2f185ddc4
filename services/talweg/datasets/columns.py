"""The columns of a table: numbers, yes/no, dates and categories, found from texts or given by Arrow's types."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from talweg.datasets.options import Options, Taken
from talweg.errors import InvalidSpec

ColumnKind = Literal["number", "yes/no", "date", "category", "empty", "left out"]
MISSING: Final = frozenset(
    ("", "na", "n/a", "#n/a", "n.a.", "nan", "null", "none", "<na>", "nat", "?", "-", "--", ".", "#value!", "#div/0!")
)
_YES_NO: Final = (("no", "yes"), ("false", "true"), ("n", "y"), ("f", "t"), ("off", "on"))
_FLAGS: Final = {word: (pair, float(i)) for pair in _YES_NO for i, word in enumerate(pair)}
_TIDY: Final = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2212": "-", "\u2019": "'"})
_PARTS: Final = re.compile(
    r"(?P<before>[$€£¥]?)\s*(?P<sign>[+-]?)\s*(?P<number>\d[\d.,' ]*(?:[eE][+-]?\d+)?|[.,]\d+(?:[eE][+-]?\d+)?)"
    r"\s*(?P<after>%|[^\W\d_]{1,3}[^\s\d]{0,5}|[$€£¥°µ][^\s\d]{0,3})?"
)
_PLAIN: Final = {
    ".": re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"),
    ",": re.compile(r"(\d+,?\d*|,\d+)([eE][+-]?\d+)?"),
}
_GROUPED: Final = {
    ".": re.compile(r"\d{1,3}([,' ])\d{3}(\1\d{3})*(\.\d*)?"),
    ",": re.compile(r"\d{1,3}([.' ])\d{3}(\1\d{3})*(,\d*)?"),
}
_CODE: Final = re.compile(r"0\d+")
_MONTH_NAMES: Final = "jan feb mar apr may jun jul aug sep oct nov dec"
_MONTHS: Final = {name: number for number, name in enumerate(_MONTH_NAMES.split(), start=1)}
_TIME: Final = (
    r"(?:[T ]+(?P<h>\d{1,2}):(?P<min>\d\d)(?::(?P<s>\d\d)(?:[.,](?P<f>\d{1,9}))?)?\s*(?P<z>Z|[+-]\d\d:?\d\d)?)?"
)
_DATES: Final = (
    re.compile(r"(?P<y>\d{4})-(?P<m>\d{1,2})(?:-(?P<d>\d{1,2}))?" + _TIME),
    re.compile(r"(?P<y>\d{4})/(?P<m>\d{1,2})/(?P<d>\d{1,2})" + _TIME),
    re.compile(r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})" + _TIME),
    re.compile(r"(?P<d>\d{1,2})[- ](?P<b>[A-Za-z]{3})[a-z]*\.?[- ](?P<y>\d{4})" + _TIME),
    re.compile(r"(?P<b>[A-Za-z]{3})[a-z]*\.? (?P<d>\d{1,2}),? (?P<y>\d{4})" + _TIME),
)
_SLASHED: Final = re.compile(r"(?P<first>\d{1,2})[/-](?P<second>\d{1,2})[/-](?P<y>\d{4})" + _TIME)
_CLOCK: Final = re.compile(r"(?P<h>\d{1,2}):(?P<min>\d\d)(?::(?P<s>\d\d)(?:[.,](?P<f>\d{1,9}))?)?")
_FROM_0: Final = " (counted from 0)"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = 86_400.0
# Of the different texts of a column, as many as are tried before it is taken for text.
_TRIED: Final = 1000
# Different values with units, as in "12 kg", "3 lb", that are still categories and not numbers.
_FEW: Final = 20


@dataclass(frozen=True, eq=False)
class Column:
    """A column of n rows.

    Attributes:
        values: (n,) float64, NaN where missing: a number, 0 or 1, or days since 1970; for a category (n,) int64,
            positions in `words`, −1 where missing.
        words: The texts of a category; of yes/no the two words.
        example: A value as it was written.
        note: What was done to read it, such as a unit that was taken away.
    """

    name: str
    kind: ColumnKind
    values: NDArray[Any]
    words: tuple[str, ...] = ()
    example: str = ""
    note: str = ""

    @property
    def missing(self) -> int:
        """How many rows have no value."""
        return int((self.values < 0).sum() if self.kind == "category" else np.isnan(self.values).sum())


def left_out(name: str, rows: int, note: str, example: str = "") -> Column:
    """A column that is not read."""
    return Column(name, "left out", np.empty(0), example=example, note=note)


def from_numbers(name: str, values: NDArray[Any], taken: Taken | None, *, boolean: bool = False) -> Column:
    """A column of numbers (NaN: missing), booleans as 0 and 1; `taken` as a category where that is asked for."""
    known = values[~np.isnan(values)]
    if not len(known):
        return Column(name, "empty", values)
    example = ("yes" if known[0] else "no") if boolean else _shown(float(known[0]))
    if taken == "category":
        different, codes = np.unique(known, return_inverse=True)
        filled = np.full(len(values), -1, np.int64)
        filled[~np.isnan(values)] = codes
        words = [("yes" if one else "no") if boolean else _shown(one) for one in different.tolist()]
        return Column(name, "category", filled, tuple(words), example)
    if taken in ("date", "date, day first", "date, month first"):
        return _dates_from_numbers(name, values, example)
    if boolean or taken == "yes/no":
        if not np.isin(known, (0.0, 1.0)).all():
            row, value = _first(values, ~np.isin(values, (0.0, 1.0)) & ~np.isnan(values))
            raise InvalidSpec(f"column {name!r}: as 'yes/no' must hold 0 and 1, got {value:g} in row {row}{_FROM_0}")
        return Column(name, "yes/no", values, ("false", "true") if boolean else ("no", "yes"), example)
    return Column(name, "number", values, example=example)


def _first(values: NDArray[Any], where: NDArray[np.bool_]) -> tuple[int, float]:
    row = int(np.argmax(where))
    return row, float(values[row])


def _dates_from_numbers(name: str, values: NDArray[Any], example: str) -> Column:
    """20240131 is a day, 2024 the first day of a year, 1706659200 and 1706659200000 seconds and their thousandths."""
    made = np.full(len(values), np.nan)
    for row, value in enumerate(values.tolist()):
        if value == value:
            made[row] = days = _days(value)
            if days != days:
                raise InvalidSpec(
                    f"column {name!r}: as 'date' must hold days such as 20240131, years, or seconds since 1970, got "
                    f"{value:.15g} in row {row}{_FROM_0}"
                )
    return Column(name, "date", made, example=example)


def _days(value: float) -> float:
    if 1e8 <= value < 1e10:
        return value / _DAY
    if 1e11 <= value < 1e13:
        return value / (1000 * _DAY)
    text = f"{value:.15g}"
    days = _day(f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 else f"{text}-01-01", None)
    return np.nan if days is None else days


def _shown(value: float) -> str:
    return str(int(value)) if abs(value) < 1e15 and value == int(value) else repr(value)


def from_texts(
    name: str,
    codes: NDArray[np.int64],
    words: Sequence[str],
    options: Options,
    decimal: Literal[".", ","] = ".",
    *,
    target: bool = False,
) -> Column:
    """A column of texts, as what its texts say; `codes` (n,) are positions in `words`, −1 where missing.

    Raises:
        InvalidSpec: Most texts are numbers or dates and some are not, or a date has two readings; the message names
            column, row and value, and what to write.
    """
    taken = options.columns.get(name)
    words, codes = _trimmed(words, codes, {word.lower() for word in options.missing})
    reader = _Texts(name, codes, words, decimal, options.decimal is not None, taken is not None)
    if not len(words):
        return Column(name, "empty", np.full(len(codes), np.nan))
    if taken == "category":
        return reader.category()
    if taken == "number":
        return reader.numbers() or reader.refuse("number", lambda word: as_number(word, decimal) is not None)
    if taken == "yes/no":
        return reader.flags() or reader.refuse("yes/no", lambda word: word.lower() in _FLAGS)
    if taken in ("date", "date, day first", "date, month first"):
        order = {"date, day first": "day", "date, month first": "month"}.get(taken)
        numbers = reader.dates(order) or reader.numbers()
        if numbers is not None and numbers.kind == "number" and not numbers.note:
            return _dates_from_numbers(name, numbers.values, numbers.example)
        return reader.dates(order) or reader.refuse("date", lambda word: _day(word, order) is not None)
    if target:
        flags = reader.flags()
        if flags is not None and flags.words == ("false", "true"):
            return flags
        return reader.numbers() or reader.category()
    return reader.flags() or reader.numbers() or reader.dates(None) or reader.mixed() or reader.category()


@dataclass(frozen=True, eq=False)
class _Texts:
    """The texts of a column: `codes` (n,) are positions in `words`, which all occur.

    Attributes:
        certain: The decimal separator was given, so that the other one is not tried.
        asked: The column is to be taken as something, so that it is not taken for codes.
    """

    name: str
    codes: NDArray[np.int64]
    words: list[str]
    decimal: Literal[".", ","]
    certain: bool
    asked: bool

    def made(self, kind: ColumnKind, values: Collection[float], note: str = "", words: tuple[str, ...] = ()) -> Column:
        """The column with a value for each word."""
        table = np.append(np.array(list(values), float), np.nan)
        return Column(self.name, kind, table[self.codes], words, self.example, note)

    @property
    def example(self) -> str:
        return self.words[int(self.codes[np.argmax(self.codes >= 0)])][:80]

    def category(self, note: str = "") -> Column:
        return Column(self.name, "category", self.codes, tuple(self.words), self.example, note)

    def flags(self) -> Column | None:
        found = [_FLAGS.get(word.lower()) for word in self.words]
        pairs = {flag[0] for flag in found if flag is not None}
        if None in found or len(pairs) != 1 or len({flag[1] for flag in found if flag}) != 2:
            return None
        return self.made("yes/no", [flag[1] for flag in found if flag], words=pairs.pop())

    def numbers(self) -> Column | None:
        """The texts as numbers, where all are, with one unit or none; codes such as 01234 are none."""
        for decimal in (self.decimal,) if self.certain else (self.decimal, "," if self.decimal == "." else "."):
            found = []
            for word in self.words:
                one = as_number(word, decimal)
                if one is None:
                    break
                found.append(one)
            else:
                return self._with_unit(found, decimal)
        return None

    def _with_unit(self, found: list[tuple[float, str]], decimal: str) -> Column | None:
        if not self.asked and any(_CODE.fullmatch(word) for word in self.words):
            return self.category("codes with leading zeros")
        units = sorted({unit for _, unit in found})
        if len(units) > 1:
            if len(self.words) <= _FEW:
                return None
            row = [self._row(next(i for i, (_, unit) in enumerate(found) if unit == one)) for one in units[:2]]
            texts = [self.words[int(self.codes[one])][:40] for one in row]
            raise InvalidSpec(
                f"column {self.name!r}: numbers must have one unit or none, got {texts[0]!r} in row {row[0]} and "
                f"{texts[1]!r} in row {row[1]}{_FROM_0}; write them in one unit, or take each as a category: "
                f'columns={{"{self.name}": "category"}}'
            )
        notes = [f"without its unit {units[0]!r}"] if units[0] else []
        if decimal != self.decimal:
            notes.append(f"decimal {'comma' if decimal == ',' else 'point'}")
        return self.made("number", [value for value, _ in found], ", ".join(notes))

    def dates(self, order: str | None) -> Column | None:
        clock = [_clock(word) for word in self.words[:_TRIED]]
        if None not in clock:
            clock += [_clock(word) for word in self.words[_TRIED:]]
            if None not in clock:
                return self.made("number", [seconds for seconds in clock if seconds is not None], "seconds of the day")
        if order is None and (slashed := [word for word in self.words if _SLASHED.fullmatch(word)]):
            order = self._order(slashed)
        found = []
        for word in self.words:
            day = _day(word, order)
            if day is None:
                return None
            found.append(day)
        note = "" if not order else f"{order} first"
        return self.made("date", found, note)

    def _order(self, slashed: list[str]) -> str | None:
        """Whether 03/04/2024 begins with the day or the month; raises InvalidSpec where nothing tells."""
        matches = [match for match in map(_SLASHED.fullmatch, slashed) if match is not None]
        day = any(int(match["first"]) > 12 for match in matches)
        month = any(int(match["second"]) > 12 for match in matches)
        if day != month:
            return "day" if day else "month"
        if not day and len(slashed) == len(self.words):
            raise InvalidSpec(
                f"column {self.name!r}: {slashed[0]!r} can be read in two ways; write which: "
                f'columns={{"{self.name}": "date, day first"}} or columns={{"{self.name}": "date, month first"}}'
            )
        return None

    def mixed(self) -> Column | None:
        """Raise InvalidSpec where most rows hold numbers or dates and some do not; None where the column is text."""
        weights = np.bincount(self.codes[self.codes >= 0], minlength=len(self.words))
        tried = np.argsort(-weights, kind="stable")[:_TRIED].tolist()
        for noun, fits in (("numbers", self._is_plain), ("dates", _is_date)):
            good = [i for i in tried if fits(self.words[i])]
            if 2 * weights[good].sum() <= weights[tried].sum():
                continue
            bad = [i for i in tried if not fits(self.words[i])]
            bad = bad or [i for i, word in enumerate(self.words) if not fits(word)]
            # A few different values, some of them numbers, are categories: 3, 4, 5more.
            if not bad or (len(self.words) <= _FEW and len(bad) * 4 >= len(self.words)):
                return None
            row = int(np.argmax(np.isin(self.codes, bad)))
            word = self.words[int(self.codes[row])][:40]
            raise InvalidSpec(
                f"column {self.name!r}: holds {noun}, but row {row}{_FROM_0} has {word!r} "
                f"({len(bad)} such {'text' if len(bad) == 1 else 'texts'}); correct it, or count it as missing: "
                f'missing=["{word}"], or take every value as a category: columns={{"{self.name}": "category"}}'
            )
        return None

    def _is_plain(self, word: str) -> bool:
        found = as_number(word, self.decimal)
        return found is not None and not found[1]

    def refuse(self, taken: str, fits: Any) -> Column:
        """Raise InvalidSpec for the first value that is not what was asked for."""
        bad = [i for i, word in enumerate(self.words) if not fits(word)] or [0]
        row = min(self._row(i) for i in bad)
        word = self.words[int(self.codes[row])][:40]
        raise InvalidSpec(
            f"column {self.name!r}: cannot be taken as {taken!r}, row {row}{_FROM_0} has {word!r}; count it as "
            f"missing: missing=[{word!r}], or take the column as 'category' or 'leave out'"
        )

    def _row(self, position: int) -> int:
        return int(np.argmax(self.codes == position))


def _trimmed(words: Sequence[str], codes: NDArray[np.int64], more: set[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Words without spaces around them, each once and sorted by their first row; codes of missing ones are −1."""
    kept: dict[str, int] = {}
    table = np.full(len(words) + 1, -1, np.int64)
    for i, word in enumerate(words):
        text = word.strip()
        if text.lower() not in MISSING and text.lower() not in more:
            table[i] = kept.setdefault(text, len(kept))
    made = table[codes]
    used = np.unique(made[made >= 0])
    if len(used) < len(kept):
        again = np.full(len(kept) + 1, -1, np.int64)
        again[used] = np.arange(len(used))
        names = list(kept)
        return [names[i] for i in used.tolist()], again[made]
    return list(kept), made


def as_number(word: str, decimal: str) -> tuple[float, str] | None:
    """The number that a text is, with thousands separated by commas, points, apostrophes or spaces, and its unit."""
    match = _PARTS.fullmatch(word.translate(_TIDY))
    if match is None:
        return None
    number, unit = match["number"].strip(), match["before"] or match["after"] or ""
    if match["before"] and match["after"]:
        return None
    if _PLAIN[decimal].fullmatch(number):
        plain = number.replace(",", ".")
    elif grouped := _GROUPED[decimal].fullmatch(number):
        plain = number.replace(grouped[1], "").replace(",", ".")
    else:
        return None
    return float(match["sign"] + plain), unit


def _clock(word: str) -> float | None:
    match = _CLOCK.fullmatch(word)
    if match is None or int(match["h"]) > 23 or int(match["min"]) > 59:
        return None
    return _seconds(match)


def _seconds(match: re.Match[str]) -> float:
    if match["h"] is None:
        return 0.0
    return int(match["h"]) * 3600.0 + int(match["min"]) * 60 + int(match["s"] or 0) + float(f"0.{match['f'] or 0}")


def _day(word: str, order: str | None) -> float | None:
    """Days since 1970 that a text says, the time of day as a fraction, any zone taken to UTC; None for others."""
    if not 6 <= len(word) <= 40:
        return None
    for pattern in _DATES:
        if match := pattern.fullmatch(word):
            found = match.groupdict()
            month = found.get("m") or _MONTHS.get((found.get("b") or "").lower())
            return _since(match, found["y"], month, found["d"] or "1")
    if order and (match := _SLASHED.fullmatch(word)):
        day, month = (match["first"], match["second"])[:: 1 if order == "day" else -1]
        return _since(match, match["y"], month, day)
    return None


def _is_date(word: str) -> bool:
    return _day(word, "day") is not None or _day(word, "month") is not None


def _since(match: re.Match[str], year: Any, month: Any, day: Any) -> float | None:
    if month is None:
        return None
    try:
        start = datetime(int(year), int(month), int(day), tzinfo=UTC)
    except ValueError:
        return None
    if match["h"] is not None and (int(match["h"]) > 23 or int(match["min"]) > 59):
        return None
    zone = match["z"]
    away = 0.0 if zone in (None, "Z") else float(zone[0] + "1") * (int(zone[1:3]) * 3600 + int(zone[-2:]) * 60)
    return (start - _EPOCH).days + (_seconds(match) - away) / _DAY
