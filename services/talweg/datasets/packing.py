"""A dataset as canonical bytes with a digest: one line of JSON, then arrays in little-endian order.

Form 2 holds the columns or the array of inputs, the targets, the part of every row, and all that was fitted on the
training part. Form 1, of datasets that were uploaded before, holds inputs and targets alone.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
import zstandard
from numpy.typing import NDArray

from talweg.datasets.options import Json

if TYPE_CHECKING:
    # Workers, which unpack what this packs, do not load Arrow.
    from talweg.datasets.preparing import Prepared

FORM: Final = "talweg-dataset-2"
_LEVEL: Final = 3
_PIECE: Final = 1 << 24


def pack(data: "Prepared", file: IO[bytes]) -> tuple[str, int]:
    """Write the canonical bytes to `file`, in zstd; returns their sha256 in hex and their number."""
    digest = hashlib.sha256()
    arrays = [_little(array) for array in data.arrays]
    line = _head(data, arrays)
    size = len(line) + sum(array.nbytes for array in arrays)
    with zstandard.ZstdCompressor(level=_LEVEL).stream_writer(file, size=size, closefd=False) as writer:
        for piece in _pieces(line, arrays):
            digest.update(piece)
            writer.write(piece)
    return digest.hexdigest(), size


def size_of(data: "Prepared") -> int:
    """The number of the canonical bytes."""
    return len(_head(data, data.arrays)) + sum(array.nbytes for array in data.arrays)


def _head(data: "Prepared", arrays: list[NDArray[Any]]) -> bytes:
    inputs: Json
    if data.inputs is None:
        # What was found in rows that are not for training is not part of the data.
        inputs = {"columns": [replace(one, why="", missing=0, example="", different=0).plain() for one in data.used]}
        # So that equal data has one report, also of the columns that give nothing.
        inputs["left_out"] = [[one.name, one.why] for one in data.fitted if one.taken == "left out"]
    else:
        inputs = {"standardise": data.standardise, "divide": data.divide}
    head = {
        "form": FORM,
        "arrays": [{"dtype": array.dtype.newbyteorder("<").str, "shape": list(array.shape)} for array in arrays],
        "inputs": inputs,
        "classes": data.classes,
        "scale": None if data.scale is None else asdict(data.scale),
    }
    return json.dumps(head, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _pieces(line: bytes, arrays: list[NDArray[Any]]) -> Iterator[bytes | memoryview]:
    yield line
    for array in arrays:
        if array.size:
            data = array.reshape(-1).view(np.uint8).data
            for start in range(0, len(data), _PIECE):
                yield data[start : start + _PIECE]


def _little(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def digest_of(packed: bytes) -> str:
    """sha256 of the canonical bytes, in hex."""
    return hashlib.sha256(packed).hexdigest()
