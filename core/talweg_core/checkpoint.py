"""The binary format of a checkpoint: named arrays as bytes and back. No pickle; every length is checked before use."""

import json
import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg_core.errors import InvalidCheckpoint

_MAGIC = b"TWCP\x01"
_LENGTH = struct.Struct("<I")
_KINDS = {"float32", "float64", "int64", "bool"}


def pack(facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> bytes:
    """Facts (JSON values) and arrays as bytes, little-endian, in the mapping's order; equal input gives equal bytes."""
    described = [[name, array.dtype.name, list(array.shape)] for name, array in arrays.items()]
    header = json.dumps({"facts": facts, "arrays": described}, sort_keys=True, separators=(",", ":")).encode()
    bodies = [np.ascontiguousarray(array).tobytes() for array in arrays.values()]
    return b"".join([_MAGIC, _LENGTH.pack(len(header)), header, *bodies])


def unpack(payload: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The arguments of `pack`; raises InvalidCheckpoint for bytes that `pack` did not write."""
    start = len(_MAGIC) + _LENGTH.size
    if payload[: len(_MAGIC)] != _MAGIC or len(payload) < start:
        raise InvalidCheckpoint(f"checkpoint: must start with {_MAGIC!r}, got {payload[: len(_MAGIC)]!r}")
    (length,) = _LENGTH.unpack_from(payload, len(_MAGIC))
    try:
        header = json.loads(payload[start : start + length])
        facts, described = (
            header["facts"],
            [(str(n), str(d), tuple(map(int, s))) for n, d, s in header["arrays"]],
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidCheckpoint(f"checkpoint: its header cannot be read: {error}") from error
    offset, arrays = start + length, {}
    for name, kind, shape in described:
        if kind not in _KINDS or any(n < 0 for n in shape):
            raise InvalidCheckpoint(f"checkpoint: {name} must be one of {sorted(_KINDS)}, got {kind} {shape}")
        count = math.prod(shape)
        size = count * np.dtype(kind).itemsize
        if size > len(payload) - offset:
            raise InvalidCheckpoint(f"checkpoint: {name} needs {size} bytes, got {len(payload) - offset}")
        arrays[name] = np.frombuffer(payload, kind, count, offset).reshape(shape)
        offset += size
    if offset != len(payload):
        raise InvalidCheckpoint(f"checkpoint: must end after its arrays, got {len(payload) - offset} more bytes")
    return facts, arrays
