"""The one form in which a dataset is kept: a line of JSON, then the inputs, then the targets, little-endian.

Its sha256 is the dataset's digest, so that equal data is equal whatever file it came in. zstd goes around it.
"""

import hashlib
import json
from typing import Any, Final

import numpy as np
import zstandard

from talweg.datasets.preparing import Prepared

_FORM: Final = "talweg-dataset-1"
_LEVEL: Final = 3


def pack(data: Prepared) -> bytes:
    """The canonical bytes."""
    inputs, targets = _little(data.inputs), _little(data.targets)
    head = {
        "form": _FORM,
        "inputs": {"dtype": inputs.dtype.str, "shape": list(inputs.shape)},
        "targets": {"dtype": targets.dtype.str, "shape": list(targets.shape)},
        "classes": data.classes,
        "standardise": data.standardise,
    }
    line = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
    return b"".join((line, b"\n", inputs.tobytes(), targets.tobytes()))


def compress(packed: bytes) -> bytes:
    """As it is stored."""
    return zstandard.ZstdCompressor(level=_LEVEL).compress(packed)


def digest_of(packed: bytes) -> str:
    """sha256 of the canonical bytes, in hex."""
    return hashlib.sha256(packed).hexdigest()


def _little(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
