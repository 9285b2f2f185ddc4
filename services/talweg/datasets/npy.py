"""The npy format, read without trust: the header is checked against the bytes that are there before any is allocated.

`numpy.load` allocates what a header claims, and takes pickles where it is allowed to; neither happens here.
"""

import math
from tokenize import TokenError
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from talweg.datasets.options import MAXIMUM_DIMENSIONS, MAXIMUM_ROWS
from talweg.errors import InvalidSpec, TooLarge

# Truth values, integers, floats, text. No objects (pickles), records, dates or raw bytes.
KINDS: Final = "buifU"
_PIECE: Final = 1 << 20


def read_npy(name: str, stream: IO[bytes], size: int, maximum: int) -> NDArray[Any]:
    """The array of an npy file of `size` bytes; raises InvalidSpec or TooLarge, before anything is allocated."""
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
            start = 10
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
            start = 12
        else:
            raise InvalidSpec(f"{name}: must be npy of version 1.0 or 2.0, got {version[0]}.{version[1]}")
    except (ValueError, TypeError, SyntaxError, OverflowError, RecursionError, TokenError) as error:
        # Header text is parsed as a Python literal; what it holds is not repeated.
        raise InvalidSpec(f"{name}: is not an npy file that can be read ({type(error).__name__})") from None
    if dtype.hasobject or dtype.kind not in KINDS:
        raise InvalidSpec(f"{name}: must hold numbers or text, never objects, got dtype {str(dtype)[:80]}")
    if not 1 <= len(shape) <= MAXIMUM_DIMENSIONS or not all(0 <= length <= 2**40 for length in shape):
        raise InvalidSpec(f"{name}: must have 1 to {MAXIMUM_DIMENSIONS} dimensions, got shape {str(shape)[:80]}")
    if shape[0] > MAXIMUM_ROWS:
        raise TooLarge(f"{name}: must have at most {MAXIMUM_ROWS} rows, got {shape[0]}")
    needed = math.prod(shape) * dtype.itemsize
    if needed > maximum:
        raise TooLarge(f"{name}: must take at most {maximum} bytes, but its header claims {needed}")
    # The header's own length is in its first bytes; what the stream has left is what the member has left.
    rest = size - _header_length(stream, start)
    if needed != rest:
        raise InvalidSpec(f"{name}: its header claims {needed} bytes of data, but {rest} follow")
    flat = np.frombuffer(_exactly(name, stream, needed), dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


def _header_length(stream: IO[bytes], start: int) -> int:
    """Where the data begins: the stream stands there after its header was read."""
    position = stream.tell()
    assert position >= start
    return position


def _exactly(name: str, stream: IO[bytes], size: int) -> bytearray:
    """`size` bytes, piece by piece: what a member of an archive claims is not allocated before it comes."""
    data = bytearray()
    while len(data) < size:
        piece = stream.read(min(_PIECE, size - len(data)))
        if not piece:
            raise InvalidSpec(f"{name}: ends after {len(data)} bytes of data, must have {size}")
        data += piece
    return data
