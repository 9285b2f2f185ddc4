"""Output that every terminal can show: what its encoding has no sign for is written in signs that it has."""

import codecs
import io
import sys
import unicodedata
from typing import Final

HANDLER: Final = "talweg.readable"

_SIGNS: Final = {
    "–": "-", "—": "-", "−": "-", "…": "...", "·": "*", "•": "*", "×": "x", "÷": "/", "±": "+-",
    "→": "->", "←": "<-", "↑": "^", "↓": "v", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "∞": "inf", "√": "sqrt",
    "∇": "grad ", "∂": "d", "∑": "sum", "∏": "prod", "∈": "in", "⊙": "*", "⊗": "x", "‖": "||", "°": " deg", "✓": "yes",
    "✗": "no", "“": '"', "”": '"', "„": '"', "’": "'", "«": "<<", "»": ">>", "€": "EUR",
}  # fmt: skip
# Lines of tables and bars.
_BOX: Final = range(0x2500, 0x2580)
_BLOCKS: Final = range(0x2580, 0x25A0)


def prepare() -> None:
    """Let stdout and stderr write every text. The shell's own choice (`PYTHONIOENCODING=ascii:ignore`) is overruled."""
    codecs.register_error(HANDLER, _readable)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def spells_everything() -> bool:
    """Whether stdout's encoding has a sign for every character."""
    return codecs.lookup(sys.stdout.encoding or "utf-8").name.startswith("utf")


def _readable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_spelt, error.object[error.start : error.end])), error.end


def _spelt(sign: str) -> str:
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
