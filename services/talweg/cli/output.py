"""What commands print: data on stdout, words on stderr."""

import json
import math
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

from talweg.cli.streams import spells_everything

if TYPE_CHECKING:
    from talweg.client import Table


def data(text: str) -> None:
    """One piece of data on stdout."""
    sys.stdout.write(text + "\n")


def say(text: str) -> None:
    """A line for people, on stderr, after what stdout has by now: both may be one terminal, or one file."""
    sys.stdout.flush()
    sys.stderr.write(_wrapped(text, sys.stderr) + "\n")


def prose(text: str) -> None:
    """Sentences on stdout; a terminal gets whole words on each line."""
    data(_wrapped(text, sys.stdout))


def hint(text: str) -> None:
    """What to type next: the last line, on stderr."""
    say(f"Next: {text}")


def as_json(value: object) -> None:
    """`value` as JSON on stdout, exact in every encoding; numbers that JSON does not have become null."""
    data(json.dumps(_plain(value), indent=2, allow_nan=False, ensure_ascii=not spells_everything()))


def table(value: "Table", *, wide: bool = False) -> None:
    """A table on stdout, as wide as the terminal, or 80 characters where there is none; all of it where `wide`."""
    width = None if wide else shutil.get_terminal_size().columns
    if sys.stdout.isatty() or os.environ.get("FORCE_COLOR"):
        from rich.console import Console

        # A line that is longer than the terminal is the terminal's to break.
        Console(soft_wrap=True).print(value.to_rich(width))
    else:
        data(clean(value.to_text(width), keep="\n"))
    if width is not None and (hidden := value.hidden(width)):
        say(f"Not shown: {', '.join(hidden)} (--wide).")


def clean(text: str, *, keep: str = "") -> str:
    """`text` without control characters: a name must not steer the terminal."""
    return "".join(character for character in text if character.isprintable() or character in keep)


def facts(title: str, values: Mapping[str, object]) -> None:
    """A title, and a line for each fact that is known."""
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
