"""Data, styles and scripts inside a page, so that it requests nothing when opened: JSON, arrays in base64, hashes."""

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

Json = dict[str, Any]
# An 8-bit array holds −127 … 127 for −1 … 1 times its scale.
LEVELS = 127


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
