"""A run's page as one HTML file: data, style and script. Its Content-Security-Policy allows these two by hash."""

import base64
import html
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg.web.inline import asset, content_hash, embedded

Json = dict[str, Any]
# An 8-bit array holds −127 … 127 for −1 … 1 times its scale.
LEVELS = 127
# In the order of their dependencies.
SCRIPTS = ("base", "chart", "network", "surface", "weights", "rule", "chain", "table", "page")


def floats(values: "NDArray[Any] | list[NDArray[Any]] | list[float]") -> Json:
    """An array as little-endian float32 in base64, with its shape."""
    array = np.asarray(values)
    with np.errstate(over="ignore"):
        data = np.ascontiguousarray(array, dtype="<f4")
    return {"shape": list(array.shape), "f4": base64.b64encode(data.tobytes()).decode()}


def coarse(rows: "NDArray[Any] | list[NDArray[Any]]") -> Json:
    """Rows (K, n) as 8-bit numbers, each with a scale: the row's greatest absolute value.

    For colours: the error is at most 0.4 % of the scale. Values that are not finite become 0.
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
    """Seven digits, as in float32; None for NaN and infinity, which JSON cannot hold."""
    return float(f"{value:.7g}") if np.isfinite(value) else None


def numbers(values: Any) -> list[float | None]:
    """Values as a list for JSON."""
    return [rounded(float(value)) for value in values]


@cache
def _script() -> str:
    parts = "\n".join(asset("run_assets", f"{name}.js") for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}\n}})();\n'


def document(value: Json) -> str:
    """The HTML file of a run's content."""
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
<noscript>This page needs JavaScript, which is disabled here.</noscript>
<script type="application/json" id="content">{embedded(value)}</script>
<script>{script}</script>
</body>
</html>
"""
