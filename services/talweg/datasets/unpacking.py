"""The dataset that canonical bytes hold, as the engine takes it."""

import json
import math
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from talweg.datasets.fitting import Fitted, TargetScale, matrix
from talweg.datasets.options import Json
from talweg.datasets.packing import FORM, digest_of
from talweg.errors import CorruptRecord
from talweg_core.data import SPLITS, Dataset, split


def unpack(name: str, digest: str, size: int, payload: bytes) -> Dataset:
    """The dataset for the engine; raises CorruptRecord where the payload does not have the digest."""
    try:
        # Checked before anything is allocated: a frame may claim any size.
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
    about: Json = json.loads(head)
    if about["form"] != FORM:
        return _first_form(name, packed, len(head) + 1, about)
    arrays, start = [], len(head) + 1
    for one in about["arrays"]:
        array, start = _array(packed, start, one)
        arrays.append(array)
    *held, targets, parts = arrays
    splits = {part: np.flatnonzero(parts == position) for position, part in enumerate(SPLITS)}
    if "columns" in about["inputs"]:
        inputs = matrix(held, [Fitted.from_plain(one) for one in about["inputs"]["columns"]], len(parts))
    else:
        inputs = _scaled(held[0].astype(np.float64), splits["train"], about["inputs"])
    wide: Any = targets.astype(np.int64 if about["classes"] is not None else np.float64)
    if about["scale"] is not None:
        wide = TargetScale(**about["scale"]).apply(wide)
    return Dataset(name, inputs, wide, splits)


def _scaled(inputs: NDArray[np.float64], training: NDArray[np.int64], about: Json) -> NDArray[np.float64]:
    if about["standardise"]:
        rows = inputs[training]
        deviation = rows.std(axis=0)
        return np.asarray((inputs - rows.mean(axis=0)) / np.where(deviation > 0, deviation, 1))
    return np.asarray(inputs / about["divide"])


def _first_form(name: str, packed: bytes, start: int, about: Json) -> Dataset:
    inputs, start = _array(packed, start, about["inputs"])
    targets, _ = _array(packed, start, about["targets"])
    wide: Any = targets.astype(np.int64 if about["classes"] is not None else np.float64)
    return split(name, inputs.astype(np.float64), wide, standardise=bool(about["standardise"]))


def _array(packed: bytes, start: int, about: Json) -> tuple[NDArray[Any], int]:
    shape, dtype = tuple(about["shape"]), np.dtype(about["dtype"])
    count = math.prod(shape)
    return np.frombuffer(packed, dtype, count, start).reshape(shape), start + count * dtype.itemsize
