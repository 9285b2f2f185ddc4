"""Output of the commands, data on stdout and messages on stderr, and the options that several of them share.

Characters that the terminal's encoding lacks are replaced by characters that it has.
"""

import codecs
import io
import json
import math
import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO

import typer

from talweg.errors import InvalidSpec, NotFound

if TYPE_CHECKING:
    from talweg.client import Lab, Run, Study, Table
    from talweg.settings import Settings

Home = Annotated[
    Path | None, typer.Option("--home", help="The laboratory's folder.", show_default=".talweg, or TALWEG_HOME")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Wide = Annotated[bool, typer.Option("--wide", help="Every column and row, however many.")]
RunName = Annotated[str, typer.Argument(help="A run, by name or id.")]
WorkName = Annotated[str, typer.Argument(help="A run or a study, by name or id.")]
Wait = Annotated[bool, typer.Option(help="Wait for the end.")]

HANDLER: Final = "talweg.readable"
# Rows of a ranking in a terminal; of more settings the others are left out.
RANKED: Final = 12

_SIGNS: Final = {
    "–": "-", "—": "-", "−": "-", "…": "...", "·": "*", "•": "*", "×": "x", "÷": "/", "±": "+-",
    "→": "->", "←": "<-", "↑": "^", "↓": "v", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "∞": "inf", "√": "sqrt",
    "∇": "grad ", "∂": "d", "∑": "sum", "∏": "prod", "∈": "in", "⊙": "*", "⊗": "x", "‖": "||", "°": " deg", "✓": "yes",
    "✗": "no", "“": '"', "”": '"', "„": '"', "’": "'", "«": "<<", "»": ">>", "€": "EUR",
}  # fmt: skip
# Lines of tables and bars.
_BOX: Final = range(0x2500, 0x2580)
_BLOCKS: Final = range(0x2580, 0x25A0)
_SECRET = ("token", "database_url", "broker_url")


def prepare() -> None:
    """Make stdout and stderr write every text, whatever error handler `PYTHONIOENCODING` names (`ascii:ignore`)."""
    codecs.register_error(HANDLER, _readable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def encodes_everything() -> bool:
    """Whether stdout's encoding has every character."""
    return codecs.lookup(sys.stdout.encoding or "utf-8").name.startswith("utf")


def _readable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_spell, error.object[error.start : error.end])), error.end


def _spell(sign: str) -> str:
    if sign in _SIGNS:
        return _SIGNS[sign]
    if ord(sign) in _BOX:
        name = unicodedata.name(sign)
        return "+" if " AND " in name else "-" if name.endswith("HORIZONTAL") else "|"
    if ord(sign) in _BLOCKS:
        return "#"
    # Hyphens and quotation marks of other kinds.
    if unicodedata.category(sign) in ("Pd", "Pi", "Pf"):
        return "-" if unicodedata.category(sign) == "Pd" else "'"
    plain = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    if plain:
        # ² is not 2.
        return f"^{plain}" if "<super>" in unicodedata.decomposition(sign) else plain
    name = unicodedata.name(sign, "")
    if name.startswith("GREEK SMALL LETTER "):
        return name.split()[3].lower()
    if name.startswith("GREEK CAPITAL LETTER "):
        return name.split()[3].title()
    return "" if unicodedata.combining(sign) else "?"


def data(text: str) -> None:
    """One piece of data on stdout."""
    sys.stdout.write(text + "\n")


def say(text: str) -> None:
    """A message on stderr. Flushes stdout first: both may be one terminal, or one file."""
    sys.stdout.flush()
    sys.stderr.write(_wrapped(text, sys.stderr) + "\n")


def prose(text: str) -> None:
    """Sentences on stdout, broken between words in a terminal."""
    data(_wrapped(text, sys.stdout))


def hint(text: str) -> None:
    """What to type next: the last line, on stderr."""
    say(f"Next: {text}")


def as_json(value: object) -> None:
    """`value` as JSON on stdout, exact in every encoding; NaN and infinities become null."""
    data(json.dumps(_plain(value), indent=2, allow_nan=False, ensure_ascii=not encodes_everything()))


def table(value: "Table", *, wide: bool = False, rows: int | None = None) -> None:
    """A table on stdout, as wide as the terminal, or 80 characters where there is none; every column if `wide`.

    Of its rows only the first `rows`, if given; all if `wide`.
    """
    left_out = 0 if wide or rows is None else len(value) - rows
    if left_out > 0:
        value = replace(value, rows=value.rows[:rows])
    width = None if wide else shutil.get_terminal_size().columns
    if sys.stdout.isatty() or os.environ.get("FORCE_COLOR"):
        from rich.console import Console

        # The terminal breaks longer lines itself.
        Console(soft_wrap=True).print(value.to_rich(width))
    else:
        data(clean(value.to_text(width), keep="\n"))
    if width is not None and (hidden := value.hidden(width)):
        say(f"Not shown: {', '.join(hidden)} (--wide).")
    if left_out > 0:
        say(f"Not shown: {left_out:,} more rows (--wide).")


def listing(value: "Table", *, json: bool, wide: bool, then: str, rows: object = None) -> None:
    """A table and what to type next; with `json` instead its rows, or `rows` if given."""
    if json:
        as_json(list(value) if rows is None else rows)
        return
    table(value, wide=wide)
    hint(then)


def clean(text: str, *, keep: str = "") -> str:
    """`text` without control characters: a name must not steer the terminal."""
    return "".join(character for character in text if character.isprintable() or character in keep)


def facts(title: str, values: Mapping[str, object]) -> None:
    """A title, and one line for each value that is not None."""
    from talweg.client.table import text

    known = {name: clean(text(value)) for name, value in values.items() if value is not None}
    width = max(map(len, known), default=0)
    data("\n".join([clean(title), *(f"  {name:<{width}}  {value}" for name, value in known.items())]))


def _wrapped(text: str, stream: TextIO) -> str:
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    lines = (textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) for line in text.splitlines())
    return "\n".join("\n".join(line) for line in lines)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return value.isoformat() if isinstance(value, datetime) else str(value)


def read_settings(**given: Any) -> "Settings":
    """The settings; those of `given` that are not None override all others.

    Raises:
        InvalidSpec: A setting breaks its rule; names the setting, the rule and the value.
    """
    from pydantic import ValidationError

    from talweg.settings import Settings

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise InvalidSpec("; ".join(map(_rule, error.errors()))) from None


def laboratory(home: Path | None) -> "Lab":
    """The laboratory that TALWEG_URL names, or else the local one, started if it does not run."""
    read_settings()
    from talweg.client import Lab

    return Lab(home=home)


def _rule(problem: Any) -> str:
    from talweg.validation import rule

    name = ".".join(str(part) for part in problem["loc"])
    value = "" if name in _SECRET else f", got {problem['input']!r}"
    return f"setting {name}: {rule(problem)}{value}"


def find(lab: "Lab", name: str) -> "Run | Study":
    """The run of that id or name, or else the study; raises NotFound."""
    try:
        return lab.run(name)
    except NotFound:
        try:
            return lab.study(name)
        except NotFound:
            raise NotFound(f"there is no run and no study {name!r}; talweg runs, talweg studies list them") from None


def view_of(work: "Run | Study") -> dict[str, Any]:
    """The API's last answer, without a new request."""
    return dict(work._view)


def catalogue_of(lab: "Lab", noun: str) -> list[dict[str, Any]]:
    """Every entry of the laboratory's catalogue of "optimizers", "problems" or "schedules"."""
    entries: list[dict[str, Any]] = lab._wire.get(f"/v1/{noun}")
    return entries
