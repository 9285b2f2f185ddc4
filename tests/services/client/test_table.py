"""Tables as plain text, HTML, rich, pandas and Arrow; names are never markup."""

import pytest
from rich.console import Console

from talweg.client import Spread, Table
from talweg.client.table import Interval

TABLE = Table(
    ("optimizer", "validation_cost", "runs"),
    (("adam", Spread(0.25, 0.2, 0.3, 3), 3), ("sgd <b>[red]", None, 3)),
    title="study <one>",
)


def test_plain_text_is_aligned_and_says_what_is_missing() -> None:
    assert str(TABLE).splitlines() == [
        "study <one>",
        "optimizer         validation_cost  runs",
        "adam          0.250 (0.200–0.300)     3",
        "sgd <b>[red]                    –     3",
    ]


def test_a_narrow_table_keeps_the_columns_that_fit_with_first_before_others() -> None:
    table = Table(
        ("name", "words", "score", "count", "last"),
        (("a name that is never cut", "many words that may be cut", Spread(1.5, -2, 1e7, 3), 12_345, "x\ny"),),
        first=("score", "last"),
    )
    assert table.to_text().splitlines() == [
        "name                      words                                          score  count  last",
        "a name that is never cut  many words that may be cut  1.50 (-2.00 to 1.00e+07)  12345  x y",
    ]
    assert table.hidden(90) == ()
    assert table.to_text(78).splitlines() == [
        "name                      words                                    score  last",
        "a name that is never cut  many words that may…  1.50 (-2.00 to 1.00e+07)  x y",
    ]
    assert table.hidden(78) == ("count",)
    assert table.to_text(40).splitlines() == [
        "name                      score  last",
        "a name that is never cut   1.50  x y",
    ]
    assert table.hidden(40) == ("words", "count")
    assert table.to_text(1).splitlines() == ["name", "a name that is never cut"]


def test_estimates_lose_their_ranges_in_a_narrow_table() -> None:
    assert TABLE.to_text(31).splitlines()[1:] == [
        "optimizer     validation_cost",
        "adam                    0.250",
        "sgd <b>[red]                –",
    ]
    assert TABLE.hidden(31) == ("runs",)


def test_hidden_columns_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "31")
    assert str(TABLE).splitlines()[-1] == "(not shown: runs)"
    monkeypatch.setenv("COLUMNS", "200")
    assert "not shown" not in str(TABLE)


def test_html_escapes_every_cell() -> None:
    page = TABLE._repr_html_()
    assert "<b>" not in page
    assert "sgd &lt;b&gt;[red]" in page
    assert "study &lt;one&gt;" in page


def test_terminal_output_takes_no_markup_from_a_name() -> None:
    console = Console(width=120, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as captured:
        console.print(TABLE)
    assert "sgd <b>[red]" in captured.get()
    assert "0.250 (0.200–0.300)" in captured.get()


def test_pandas_has_three_columns_for_a_spread() -> None:
    frame = TABLE.to_pandas()
    assert list(frame.columns) == [
        "optimizer",
        "validation_cost",
        "validation_cost_low",
        "validation_cost_high",
        "runs",
    ]
    assert frame.loc[0, "validation_cost_high"] == 0.3
    assert frame["validation_cost"].isna().tolist() == [False, True]


def test_iterating_over_a_table_gives_dicts() -> None:
    assert len(TABLE) == 2
    assert [row["optimizer"] for row in TABLE] == ["adam", "sgd <b>[red]"]
    assert TABLE.column("runs") == [3, 3]
    with pytest.raises(KeyError, match="there are optimizer, validation_cost, runs"):
        TABLE.column("speed")


def test_a_table_without_rows_is_its_head() -> None:
    assert str(Table(("name",), ())) == "name"


def test_a_name_of_a_library_keeps_its_end_where_it_is_cut() -> None:
    columns = ("rank", "optimizer", "profile_score", "runs", "complete", "diverged", "blown_up")
    names = ("pytorch_optimizer:StableAdamW", "a name of many words that goes on")
    rows = tuple((1, name, Interval(0.25, 0.125, 0.5), 36, 36, 0, 0) for name in names)
    library, other = (line.split("0.25")[0].strip() for line in str(Table(columns, rows)).splitlines()[1:3])
    assert library.endswith("StableAdamW")
    assert "…" in library
    assert other.endswith("…")
