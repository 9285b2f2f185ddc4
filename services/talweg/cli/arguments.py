"""How a problem or an optimizer with its settings is written in a shell: `adam:learning_rate=0.01,beta1=0.8`."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from talweg.errors import InvalidSpec

# A comma separates settings only before another `name=`: a list keeps its own.
_BETWEEN = re.compile(r",(?=\s*[A-Za-z_]\w*\s*=)")


def named(text: str) -> dict[str, Any]:
    """`name` or `name:key=value,…` as a dict; values are JSON, or else words.

    Raises:
        InvalidSpec: A part is not `key=value`, or a key is given twice.
    """
    name, _, rest = text.partition(":")
    found: dict[str, Any] = {"name": name.strip()}
    for part in _BETWEEN.split(rest) if rest else []:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key.isidentifier() or not value:
            raise InvalidSpec(f"{name}: a setting is written key=value, got {part.strip()!r}")
        if key in found:
            raise InvalidSpec(f"{name}: {key} is given twice")
        found[key] = _value(value)
    return found


def seeds(text: str) -> int | list[int]:
    """`5` is five seeds, 0 to 4; `0,7,11` are those; raises InvalidSpec."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        numbers = [int(part) for part in parts]
    except ValueError:
        numbers = []
    if not numbers:
        raise InvalidSpec(f"seeds: must be how many (5) or which (0,7,11), got {text!r}")
    return numbers if "," in text else numbers[0]


def is_file(text: str) -> bool:
    """Whether the first argument of `submit` or `compare` means a file with a spec."""
    return text == "-" or text.endswith((".json", ".yaml", ".yml"))


def spec_of(text: str) -> Any:
    """The spec in the file, or on standard input for `-`; raises InvalidSpec."""
    from talweg.spec import parse_run, parse_study, read_spec

    if text != "-":
        return read_spec(Path(text))
    try:
        value = json.load(sys.stdin)
    except (ValueError, RecursionError) as error:
        raise InvalidSpec(f"standard input: must be JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidSpec(f"standard input: must hold a JSON object, got {type(value).__name__}")
    return parse_study(value) if "optimizers" in value else parse_run(value)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(text, text)
