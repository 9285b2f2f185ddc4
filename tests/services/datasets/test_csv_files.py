"""Reading text tables as people have them, and the remedies of the messages where one is refused."""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from talweg.datasets.preparing import Prepared
from talweg.errors import InvalidSpec, TooLarge

Read = Callable[..., Prepared]
TABLES = Path(__file__).parent / "tables"
RNG = np.random.default_rng(0)
ROWS = [(round(float(x), 3), round(float(y), 3), "xyz"[i % 3]) for i, (x, y) in enumerate(RNG.normal(size=(30, 2)))]
PLAIN = "a,b,kind\n" + "".join(f"{a},{b},{kind}\n" for a, b, kind in ROWS)

LINES = PLAIN.splitlines()


def same(made: Prepared, rows: list[tuple[float, float, str]] = ROWS) -> None:
    """The table holds `rows`: two columns of numbers, and the target."""
    assert made.columns == ["a", "b"]
    assert np.array_equal(np.column_stack(made.held), [row[:2] for row in rows])
    assert made.classes == ["x", "y", "z"]
    assert [made.classes[code] for code in made.targets] == [row[2] for row in rows]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PLAIN, "columns separated by commas"),
        (PLAIN.replace(",", "\t"), "columns separated by tabs"),
        (PLAIN.replace(",", ";"), "columns separated by semicolons"),
        (PLAIN.replace(",", ";").replace(".", ","), "decimal commas"),
        (PLAIN.replace(",", "\t").replace(".", ","), "decimal commas"),
        (PLAIN.replace(",", "|"), "columns separated by bars"),
        (PLAIN.replace(",", "   "), "columns separated by spaces"),
        (PLAIN.replace("\n", "\n  ").replace(",", " \t "), "separated by"),
        (PLAIN.replace("\n", "\r\n"), "commas"),
        (PLAIN.replace("\n", "\r"), "commas"),
        ("sep=;\n" + PLAIN.replace(",", ";"), "semicolons"),
        ("\n\n" + PLAIN, "commas"),
        ("# made by hand\n# twice\n" + PLAIN.replace("\n", "\n#\n", 5), "lines that begin with # left out"),
        ('"a","b","kind"\n' + PLAIN.partition("\n")[2], "commas"),
        (PLAIN.replace("x", "'x'").replace("y", "'y'").replace("z", "'z'"), "commas"),
        (PLAIN.replace(",", ";").replace("a;b;kind\n", "a;b;kind\n", 1).rstrip("\n"), "semicolons"),
        (PLAIN.replace(",", ", "), "commas"),
        # As R's write.table: the first line has no name for the row names.
        ("\n".join(LINES[:1] + [f"{i},{line}" for i, line in enumerate(LINES[1:])]), "no name"),
        # Each row, but not the first line, ends with a delimiter.
        ("\n".join(LINES[:1] + [f"{line}," for line in LINES[1:]]), "column 4 has no name"),
    ],
)  # fmt: skip
def test_a_table_is_the_same_however_it_is_written(read_file: Read, text: str, said: str) -> None:
    made = read_file(text.encode(), "csv")
    same(made)
    assert said in "; ".join(made.notes)


@pytest.mark.parametrize(
    ("pack", "said"),
    [
        (gzip.compress, "gzip"),
        (bz2.compress, "bzip2"),
        (lzma.compress, "xz"),
        (zstandard.compress, "zstd"),
        (lambda content: zipped(("folder/mine.csv", content)), "zip"),
        (lambda content: gzip.compress(content[:100]) + gzip.compress(content[100:]), "gzip"),
    ],
)
def test_packed_tables_are_unpacked(read_file: Read, pack: Callable[[bytes], bytes], said: str) -> None:
    made = read_file(pack(PLAIN.encode()), "csv")
    same(made)
    assert f"unpacked: {said}" in made.notes


def zipped(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_09_a_packed_bomb_is_refused_in_little_memory(read_file: Read, pack: Callable[[bytes], bytes]) -> None:
    import tracemalloc

    bomb = pack(b"a,b\n" + b"1,2\n" * 5_000_000)
    tracemalloc.start()
    with pytest.raises(TooLarge, match="file: must unpack to at most 1000000 bytes"):
        read_file(bomb, "csv", maximum=1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12_000_000
    damaged = pack(PLAIN.encode())[:-20]
    with pytest.raises(InvalidSpec, match="cannot be unpacked as"):
        read_file(damaged, "csv")


def test_a_zip_holds_one_table_and_a_workbook_says_how_to_save_it(read_file: Read) -> None:
    with pytest.raises(InvalidSpec, match=r"must hold one table .* got 2 files \(a.csv, b.csv\)"):
        read_file(zipped(("a.csv", b"x"), ("b.csv", b"y")), "csv")
    workbook = zipped(("[Content_Types].xml", b"<x/>"), ("xl/workbook.xml", b"<x/>"))
    for content in (workbook, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)):
        with pytest.raises(InvalidSpec, match=r"Excel workbook.*Save As, CSV UTF-8"):
            read_file(content, "csv")


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-16", "encoding: utf-16-le (detected)"),
        ("utf-16-le", "encoding: utf-16-le (detected)"),
        ("utf-16-be", "encoding: utf-16-be (detected)"),
        ("cp1252", "encoding: cp1252 (detected)"),
        ("latin-1", "encoding: cp1252 (detected)"),
    ],
)
def test_encodings_are_detected_and_said(read_file: Read, encoding: str, said: str) -> None:
    text = PLAIN.replace("kind", "Größe").replace("x", "süß")
    made = read_file(text.encode(encoding), "csv")
    assert (made.target, made.classes) == ("Größe", ["süß", "y", "z"])
    assert [note for note in made.notes if note.startswith("encoding")] == ([said] if said else [])


def test_an_encoding_may_be_given(read_file: Read) -> None:
    text = PLAIN.replace("x", "ж")
    assert read_file(text.encode("koi8-r"), "csv", encoding="koi8-r").classes == ["y", "z", "ж"]
    with pytest.raises(InvalidSpec, match="encoding: the file is not utf-8"):
        read_file(text.encode("koi8-r"), "csv", encoding="utf-8")
    with pytest.raises(InvalidSpec, match=r"encoding: must be one of utf-8, .* got 'zip'"):
        read_file(text.encode(), "csv", encoding="zip")


def test_values_may_have_line_breaks_and_delimiters_in_quotes(read_file: Read) -> None:
    rows = "".join(f'{i},"a ""long"", word\nin two lines {i % 2}",{"xy"[i % 2]}\n' for i in range(20))
    made = read_file(f"n,text,kind\n{rows}".encode(), "csv")
    assert next(one.categories for one in made.used if one.name == "text") == (
        'a "long", word\nin two lines 0', 'a "long", word\nin two lines 1',
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("", {}, "csv: must hold a line with the columns' names"),
        ("x\n" + "1\n" * 20, {}, r"columns: there must be 2 at least, one of them the target, got 1 \('x'\)"),
        (PLAIN.replace("b,kind", "a,kind", 1), {}, r"got 'a' for columns 1 and 2 .*; rename one of them, to 'a_2'"),
        (PLAIN.partition("\n")[2].replace(",x\n", ",0\n").replace(",y\n", ",1\n").replace(",z\n", ",2\n"), {},
         "the first line must name the columns, .* upload it with header=False"),
        (PLAIN.replace("x\n", "x,1,2\n", 1), {}, r"csv: line 2: must have 3 values.*got 5: .*must be in quotes"),
        (PLAIN + "1,2\n", {}, "csv: line 32: must have 3 values.*got 2: '1,2'"),
        (PLAIN, {"target": "knid"}, "target: must be one of the columns a, b, kind, got 'knid'; did you mean 'kind'"),
        (PLAIN, {"columns": {"c": "number"}}, "columns: must be one of the columns a, b, kind, got 'c'"),
        (PLAIN, {"kind": "regression"}, "column 'kind': as a target for regression must hold numbers, row 0"),
        (PLAIN.replace(",x\n", ",\n"), {}, r"column 'kind': the target must have a value in every row, row 0"),
        (PLAIN.replace(str(ROWS[5][1]), "inf"), {}, r"column 'b': must be finite.*got inf in row 5"),
        (PLAIN.replace(str(ROWS[5][1]), "about 3"), {},
         r"column 'b': holds numbers, but row 5 .*has 'about 3'.* missing=\[.about 3.\].*columns=\{.b.: .category.\}"),
        ("a,y\n" + "3,7\n" * 20, {}, "column 'y': there must be 2 to 10000 classes, got 1, '7' in every row"),
        ("a,y\n" + "3,7.5\n" * 20, {}, "column 'y': must not be constant as the target, got 7.5 in every row"),
        ("a,y\n" + "3,7\n3,8\n" * 20, {}, r"columns: one must be left to learn from, got none \('a': constant: 3\)"),
        ("\n".join(LINES[:6]), {}, "rows: there must be at least 10.*got 5"),
        ("a,name\n" + "".join(f"{i * 7 % 5},name {i}\n" for i in range(20)), {},
         "column 'name': as the target must have classes that repeat, got 20 different texts in 20 rows; write which"),
        ("a,y\n" + "".join(f"{i % 7},{i * 3 % 50}\n" for i in range(50)), {},
         r"column 'y': as the target has 50 different whole numbers.*kind=\"classification\" or kind=\"regression\""),
        ("w,y\n" + "".join(f"{i} {('kg', 'lb')[i % 2]},{i % 2}\n" for i in range(40)), {},
         r"column 'w': numbers must have one unit or none, got '0 kg' in row 0 and '1 lb' in row 1"),
        ("d,y\n" + "".join(f"0{i % 9 + 1}/0{i % 7 + 1}/2024,{i % 2}\n" for i in range(40)), {},
         r"column 'd': '01/01/2024' can be read in two ways; write which: columns=\{\"d\": \"date, day first\"\}"),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_named_with_what_to_write(
    read_file: Read, text: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidSpec, match=said):
        read_file(text.encode(), "csv", **options)


def test_the_remedies_of_the_messages_work(read_file: Read) -> None:
    body = PLAIN.partition("\n")[2]
    assert read_file(body.encode(), "csv", header=False).columns == ["c1", "c2"]
    bad = PLAIN.replace(str(ROWS[5][1]), "about 3").encode()
    assert read_file(bad, "csv", missing=["about 3"]).used[1].missing == 1
    assert read_file(bad, "csv", columns={"b": "category"}).used[1].taken == "category"
    gaps = PLAIN.replace(",x\n", ",\n").encode()
    made = read_file(gaps, "csv", missing_target="leave out")
    assert (len(made.targets), made.classes) == (20, ["y", "z"])
    assert "10 rows without a target left out" in made.notes
    whole = ("a,y\n" + "".join(f"{i % 7},{i * 3 % 50}\n" for i in range(50))).encode()
    assert read_file(whole, "csv", kind="regression").classes is None
    assert len(read_file(whole, "csv", kind="classification").classes or ()) == 50
    slashed = ("d,y\n" + "".join(f"0{i % 9 + 1}/0{i % 7 + 1}/2024,{i % 2}\n" for i in range(40))).encode()
    for order in ("day", "month"):
        made = read_file(slashed, "csv", columns={"d": f"date, {order} first"})
        assert made.used[0].taken == "date"


def test_a_column_that_turns_to_text_late_is_read_again_from_its_start(read_file: Read) -> None:
    # The second block of 4 MB holds the first texts.
    rows = "".join(f"{i % 10}.0000000000000000,{i % 2}\n" for i in range(250_000)) + "1.000.000,1\n" * 10
    with pytest.raises(InvalidSpec, match="column 'x': holds numbers, but row 250000"):
        read_file(f"x,y\n{rows}".encode(), "csv")
    rows = "".join(f"{i % 900 + 100},{i % 2},{'a' * 12}\n" for i in range(250_000)) + '"1,234",1,b\n' * 10
    made = read_file(f"x,y,z\n{rows}".encode(), "csv", target="y", columns={"z": "leave out"})
    assert made.held[0][-1] == 1234
    assert made.held[0][:2].tolist() == [100, 101]
