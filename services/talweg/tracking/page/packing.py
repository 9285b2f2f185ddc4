"""Arrays as short text, for a page's embedded JSON."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

Json = dict[str, Any]
# What an array of 8 bits is spread over: −127 … 127 times its scale.
LEVELS = 127


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
