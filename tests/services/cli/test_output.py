"""The commands' output in terminals of every encoding and width."""

import io
import json
import re
import sys
from collections.abc import Callable, Iterator

import pytest
import typer

from talweg.cli import main, output
from talweg.cli.app import app
from talweg.cli.output import prepare

Run = Callable[..., tuple[int, str, str]]
# Commands that need no laboratory.
READING = [
    ["optimizers"],
    ["optimizers", "adam"],
    ["optimizers", "adam", "--json"],
    ["problems"],
    ["problems", "digits-mlp"],
    ["schedules"],
    ["schedules", "cosine"],
    ["suites"],
    ["config", "show"],
    ["--version"],
    ["optimizers", "\N{GREEK SMALL LETTER ALPHA}dam \N{RIGHTWARDS ARROW}"],
]


def _leaves(command: object, path: list[str]) -> Iterator[list[str]]:
    """Every command, including groups."""
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from _leaves(inner, [*path, name])


COMMANDS = list(_leaves(typer.main.get_command(app), []))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command with streams of an encoding; returns status, stdout and stderr."""

    def run(encoding: str, width: int, *arguments: str) -> tuple[int, str, str]:
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
        with monkeypatch.context() as patch:
            patch.setenv("COLUMNS", str(width))
            patch.setattr(sys, "argv", ["talweg", *arguments])
            patch.setattr(sys, "stdout", streams[0])
            patch.setattr(sys, "stderr", streams[1])
            with pytest.raises(SystemExit) as ended:
                main()
        texts = []
        for stream in streams:
            stream.flush()
            buffer = stream.buffer
            assert isinstance(buffer, io.BytesIO)
            texts.append(buffer.getvalue().decode(encoding))
        return int(ended.value.code or 0), texts[0], texts[1]

    return run


def test_every_command_is_listed() -> None:
    assert len(COMMANDS) > 30
    assert ["optimizers"] in COMMANDS


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_is_shown(run: Run, path: list[str]) -> None:
    whole = run("utf-8", 80, *path, "--help")
    assert whole[0] == 0
    assert "--help" in whole[1]
    status, out, _ = run("ascii", 80, *path, "--help")
    assert status == 0
    assert out.count("\n") == whole[1].count("\n")
    for encoding, width in (("latin-1", 40), ("cp1252", 100)):
        assert run(encoding, width, *path, "--help")[0] == 0


@pytest.mark.parametrize("width", [40, 80, 100])
@pytest.mark.parametrize("noun", ["optimizers", "problems", "schedules"])
def test_a_table_has_a_line_for_each_row_and_no_line_too_long(run: Run, noun: str, width: int) -> None:
    rows = json.loads(run("utf-8", width, noun, "--json")[1])
    _, narrow, said = run("utf-8", width, noun)
    assert [line.split()[0] for line in narrow.splitlines()[1:]] == [row["name"] for row in rows]
    assert max(map(len, narrow.splitlines())) <= width
    _, wide, _ = run("utf-8", width, noun, "--wide")
    assert len(wide.splitlines()) == len(rows) + 1
    heads = [re.split(" {2,}", lines.splitlines()[0]) for lines in (narrow, wide)]
    missing = [name for name in heads[1] if name not in heads[0]]
    assert ("Not shown: " in said) == bool(missing)
    assert not missing or f"Not shown: {', '.join(missing)} (--wide).\n" in said
    # Where only the names have room, nothing is cut.
    assert ("…" in narrow) == (len(heads[0]) > 1)
    assert "…" not in wide


def test_a_terminal_gets_the_same_lines_as_a_pipe_and_all_columns_when_asked(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments in (["optimizers"], ["optimizers", "--wide"]):
        monkeypatch.delenv("FORCE_COLOR", raising=False)
        _, piped, _ = run("utf-8", 60, *arguments)
        monkeypatch.setenv("FORCE_COLOR", "1")
        _, coloured, _ = run("utf-8", 60, *arguments)
        assert "\x1b[1m" in coloured
        assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == piped


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
@pytest.mark.parametrize(("encoding", "width"), [("ascii", 40), ("latin-1", 80), ("cp1252", 100)])
def test_no_line_is_lost(run: Run, encoding: str, width: int, arguments: list[str]) -> None:
    status, out, error = run("utf-8", width, *arguments)
    assert out + error
    found = run(encoding, width, *arguments)
    assert found[0] == status
    assert (found[1].count("\n"), found[2].count("\n")) == (out.count("\n"), error.count("\n"))
    if "--json" in arguments:
        # Data is exact.
        assert json.loads(found[1]) == json.loads(out)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("θ ← θ − η·m̂ ∕ (√v̂ + ε)", "theta <- theta - eta*m ? (sqrtv + epsilon)"),  # noqa: RUF001
        ("a… – x²", "a... - x^2"),
        ("┏━┳━┓ ┃█│ é ß", "+-+-+ |#| e ?"),
    ],
)
def test_characters_outside_the_encoding_are_replaced(monkeypatch: pytest.MonkeyPatch, text: str, plain: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    prepare()
    stream.write(text)
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    assert buffer.getvalue().decode() == plain


def test_messages_follow_the_data_that_was_printed_before(monkeypatch: pytest.MonkeyPatch) -> None:
    both = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(both, encoding="utf-8"))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(both, encoding="utf-8", write_through=True))
    output.data("http://127.0.0.1:5055")
    output.hint("talweg runs")
    assert both.getvalue().decode() == "http://127.0.0.1:5055\nNext: talweg runs\n"


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def test_sentences_are_broken_between_words_in_a_terminal_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    sentence, long = "Adam is not shown to be worse.", "talweg show digits-mlp-tdajd9-adam"
    for stream, said, next_said in (
        (Terminal, "Adam is not shown to\nbe worse.\n", "Next: talweg show\ndigits-mlp-tdajd9-adam\n"),
        (io.StringIO, f"{sentence}\n", f"Next: {long}\n"),
    ):
        out, err = stream(), stream()
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        output.prose(sentence)
        output.hint(long)
        assert (out.getvalue(), err.getvalue()) == (said, next_said)
