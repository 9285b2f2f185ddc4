"""Inline data, styles and scripts in a page, so that it requests nothing when opened."""

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def asset(*path: str) -> str:
    """The text of a file of this package, by folder and name."""
    return files("talweg.web").joinpath(*path).read_text(encoding="utf-8")


def embedded(value: Any) -> str:
    """JSON for a `<script type="application/json">`: it holds no `</script>` and no `<!--`."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # In JSON these characters occur in strings only, where the escape means the same.
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def content_hash(text: str) -> str:
    """The hash by which a Content-Security-Policy allows this script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
