"""The page as one HTML file: its own style and script, whose hashes alone its policy lets run, and its data."""

import base64
import hashlib
import html
import json
from functools import cache
from importlib.resources import files

from talweg.tracking.page.packing import Json

# In the order in which they need each other.
SCRIPTS = ("base", "chart", "network", "surface", "weights", "rule", "chain", "table", "page")


@cache
def _asset(name: str) -> str:
    return files("talweg.tracking.page").joinpath("assets", name).read_text(encoding="utf-8")


@cache
def _script() -> str:
    parts = "\n".join(_asset(f"{name}.js") for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}\n}})();\n'


def embedded(value: Json) -> str:
    """JSON that no HTML parser takes for anything else: no `</script>`, no `<!--`."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Within JSON these stand in strings only, where an escape says the same.
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def document(value: Json) -> str:
    """The page of a run's content."""
    script, style = _script(), _asset("page.css")
    policy = f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(str(value["title"]))}</title>
<style>{style}</style>
</head>
<body>
<noscript>This page draws itself by a script, which is off here.</noscript>
<script type="application/json" id="content">{embedded(value)}</script>
<script>{script}</script>
</body>
</html>
"""


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
