"""What the texts of a column say: numbers with separators and units, yes and no, dates, categories."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from talweg.datasets.columns import Column, from_numbers, from_texts
from talweg.datasets.options import Options
from talweg.errors import InvalidSpec


def read(words: Sequence[str], taken: Any = None, **options: Any) -> Column:
    """A column that holds each text once."""
    chosen = Options("csv", columns={"c": taken} if taken else {}, **options)
    return from_texts("c", np.arange(len(words)), words, chosen)


@pytest.mark.parametrize(
    ("words", "values", "note"),
    [
        (["1", "-2.5", "+3e2", ".5"], [1, -2.5, 300, 0.5], ""),
        (["1,234", "12,345.5", "7"], [1234, 12345.5, 7], ""),
        (["1'234.5", "2’000", "3"], [1234.5, 2000, 3], ""),
        (["1 234,5", "2 000,25"], [1234.5, 2000.25], "decimal comma"),
        (["1.234,5", "-0,25"], [1234.5, -0.25], "decimal comma"),
        (["12 kg", "3.5 kg", "7kg"], [12, 3.5, 7], "without its unit 'kg'"),
        (["12%", "3.5 %"], [12, 3.5], "without its unit '%'"),
        (["$12", "$1,200.50"], [12, 1200.5], "without its unit '$'"),
        (["€ 12", "€ -3"], [12, -3], "without its unit '€'"),
        (["1st", "2nd", "3rd"], None, ""),
        (["−5", "4"], [-5, 4], ""),
        (["08:30", "23:59:59.5"], [30600, 86399.5], "seconds of the day"),
    ],
)  # fmt: skip
def test_numbers(words: list[str], values: list[float] | None, note: str) -> None:
    made = read(words)
    if values is None:
        assert made.kind == "category"
        return
    assert (made.kind, made.note) == ("number", note)
    assert made.values.tolist() == values


@pytest.mark.parametrize(
    ("words", "days", "note"),
    [
        (["1970-01-02", "1969-12-31"], [1, -1], ""),
        (["1970-01-02T12:00:00Z", "1970-01-02 12:00:00+02:00"], [1.5, 1 + 10 / 24], ""),
        (["1970/01/03", "1970/1/4"], [2, 3], ""),
        (["31.01.1970", "1.2.1970"], [30, 31], ""),
        (["31/01/1970", "01/02/1970"], [30, 31], "day first"),
        (["01/31/1970", "02/01/1970"], [30, 31], "month first"),
        (["3 Jan 1970", "04-Feb-1970"], [2, 34], ""),
        (["Jan 3, 1970", "February 4 1970"], [2, 34], ""),
        (["1970-02", "1970-03"], [31, 59], ""),
    ],
)
def test_dates_are_days_since_1970(words: list[str], days: list[float], note: str) -> None:
    made = read(words)
    assert (made.kind, made.note) == ("date", note)
    np.testing.assert_allclose(made.values, days, rtol=0, atol=1e-9)


@pytest.mark.parametrize("pair", [("no", "yes"), ("FALSE", "TRUE"), ("n", "Y"), ("f", "t"), ("off", "On")])
def test_yes_and_no_in_any_spelling(pair: tuple[str, str]) -> None:
    made = read([*pair, ""])
    assert made.kind == "yes/no"
    assert made.values[:2].tolist() == [0, 1]
    assert (made.missing, made.words) == (1, tuple(word.lower() for word in pair))


def test_codes_with_leading_zeros_are_categories() -> None:
    made = read(["01234", "99999", "00001"])
    assert (made.kind, made.note) == ("category", "codes with leading zeros")


def test_a_few_values_some_of_them_numbers_are_categories() -> None:
    made = read(["2", "3", "4", "5more"])
    assert (made.kind, made.words) == ("category", ("2", "3", "4", "5more"))


@pytest.mark.parametrize("word", ["", " ", "NA", "n/a", "NaN", "null", "None", "?", "-", ".", "#N/A", "<NA>", "nat"])
def test_usual_words_for_missing(word: str) -> None:
    made = read(["3", word, "4"])
    assert (made.kind, made.missing) == ("number", 1)
    assert np.isnan(made.values[1])


def test_a_column_is_taken_as_it_was_asked_for() -> None:
    assert read(["1", "2"], "category").words == ("1", "2")
    assert read(["3", "x"], "category").kind == "category"
    assert read(["0", "1"], "number").values.tolist() == [0, 1]
    assert read(["01234", "99999"], "number").values.tolist() == [1234, 99999]
    for taken, words in (("number", ["1", "x"]), ("date", ["2024-01-01", "x"]), ("yes/no", ["yes", "x"])):
        with pytest.raises(
            InvalidSpec, match=rf"column 'c': cannot be taken as '{taken}', row 1 \(counted from 0\) has"
        ):
            read(words, taken)


@pytest.mark.parametrize(
    ("words", "days"),
    [
        (["20240131", "20240201"], [19753, 19754]),
        (["1970", "1971"], [0, 365]),
        (["864000000", "864086400"], [10000, 10001]),
        (["864000000000"], [10000]),
    ],
)
def test_numbers_are_dates_where_that_is_asked_for(words: list[str], days: list[float]) -> None:
    assert read(words, "date").values.tolist() == days
    numbers = np.array([float(word) for word in words])
    assert from_numbers("c", numbers, "date").values.tolist() == days
    with pytest.raises(InvalidSpec, match=r"column 'c': as 'date' must hold days such as 20240131.*got 77 in row 1"):
        read([words[0], "77"], "date")


def test_one_rare_text_among_very_many_numbers_is_found() -> None:
    numbers = [str(i) for i in range(3000)]
    with pytest.raises(InvalidSpec, match=r"column 'c': holds numbers, but row 3000 .*has 'x' \(1 such text\)"):
        read([*numbers, "x"])
    # A unit that only some have is not one of all.
    with pytest.raises(
        InvalidSpec, match=r"numbers must have one unit or none, got '0' in row 0 and '7 kg' in row 3000"
    ):
        read([*numbers, "7 kg"])


def test_most_dates_and_some_other_text_is_refused() -> None:
    words = [f"2024-01-{day:02d}" for day in range(1, 30)] + ["soon"]
    with pytest.raises(InvalidSpec, match=r"column 'c': holds dates, but row 29 .*has 'soon'"):
        read(words)
    assert read(words, missing=["Soon"]).kind == "date"
