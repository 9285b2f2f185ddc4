"""A run's page as one HTML file: its own style and script, whose hashes alone its policy lets run, and its data."""

import base64
import html
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.web.inline import asset, content_hash, embedded

Json = dict[str, Any]
# What an array of 8 bits is spread over: −127 … 127 times its scale.
LEVELS = 127
# In the order in which they need each other.
SCRIPTS = ("base", "chart", "network", "surface", "weights", "rule", "chain", "table", "page")


def floats(values: "NDArray[Any] | list[NDArray[Any]] | list[float]") -> Json:
    """Any array as little-endian float32 in base64, with its shape."""
    array = np.asarray(values)
    with np.errstate(over="ignore"):
        data = np.ascontiguousarray(array, dtype="<f4")
    return {"shape": list(array.shape), "f4": base64.b64encode(data.tobytes()).decode()}


def coarse(rows: "NDArray[Any] | list[NDArray[Any]]") -> Json:
    """Rows (K, n) as 8-bit numbers, each row times a scale of its own, its greatest absolute value.

    For colours: off by 0.4 % of the row's greatest value at most. What is not finite becomes 0.
    """
    table = np.nan_to_num(np.asarray(rows, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    scale = np.abs(table).max(axis=1, initial=0.0)
    levels = np.rint(table / np.where(scale > 0, scale, 1.0)[:, None] * LEVELS).astype(np.int8)
    return {
        "shape": list(table.shape),
        "i1": base64.b64encode(levels.tobytes()).decode(),
        "scale": [rounded(value) for value in scale.tolist()],
    }


def rounded(value: float) -> float | None:
    """Seven digits, as float32 has; None for what is not finite, which JSON has no word for."""
    return float(f"{value:.7g}") if np.isfinite(value) else None


def numbers(values: Any) -> list[float | None]:
    """A short list for JSON."""
    return [rounded(float(value)) for value in values]


@cache
def _script() -> str:
    parts = "\n".join(asset("run_assets", f"{name}.js") for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}\n}})();\n'


def document(value: Json) -> str:
    """The page of a run's content."""
    script, style = _script(), asset("run_assets", "page.css")
    policy = (
        f"default-src 'none'; script-src '{content_hash(script)}'; style-src '{content_hash(style)}'; img-src data:"
    )
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
