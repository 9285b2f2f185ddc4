"""A kept dataset as the engine takes it. Apart from `packing`, which parsers load: the engine takes seconds to load."""

import json
import math
from typing import Any

import numpy as np
import zstandard

from talweg.datasets.packing import digest_of
from talweg.errors import CorruptRecord
from talweg_core.data import Dataset, split


def unpack(name: str, digest: str, size: int, payload: bytes) -> Dataset:
    """The engine's dataset; raises CorruptRecord where the payload is not what the digest was taken of."""
    try:
        # Looked at before anything is allocated: a frame may claim any size.
        claimed = zstandard.frame_content_size(payload)
        if claimed != size:
            raise CorruptRecord(f"dataset {digest}: must unpack to {size} bytes, got {claimed}")
        packed = zstandard.ZstdDecompressor().decompress(payload)
    except zstandard.ZstdError as error:
        raise CorruptRecord(f"dataset {digest}: is not zstd: {error}") from error
    found = digest_of(packed)
    if found != digest:
        raise CorruptRecord(f"dataset {digest}: must have this digest, got {found}")
    head, _, _ = packed.partition(b"\n")
    about: dict[str, Any] = json.loads(head)
    inputs, end = _array(packed, len(head) + 1, about["inputs"])
    targets, _ = _array(packed, end, about["targets"])
    wide: Any = targets.astype(np.int64 if about["classes"] is not None else np.float64)
    return split(name, inputs.astype(np.float64), wide, standardise=bool(about["standardise"]))


def _array(packed: bytes, start: int, about: dict[str, Any]) -> tuple[np.ndarray[Any, Any], int]:
    shape, dtype = tuple(about["shape"]), np.dtype(about["dtype"])
    count = math.prod(shape)
    return np.frombuffer(packed, dtype, count, start).reshape(shape), start + count * dtype.itemsize
