"""Read NumPy's `.npy` and `.npz` files, without pickle and within limits."""

import math
import zipfile
import zlib
from tokenize import TokenError
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from talweg.datasets.archives import checked_members
from talweg.datasets.options import MAXIMUM_DIMENSIONS, MAXIMUM_ROWS
from talweg.errors import InvalidSpec, TooLarge

# Booleans, integers, floats, text. No objects (pickles), records, dates or raw bytes.
KINDS: Final = "buifU"
_PIECE: Final = 1 << 20
# Accepted names, in order of preference.
INPUTS: Final = ("inputs", "X", "x")
TARGETS: Final = ("targets", "y", "Y")
_MEMBERS: Final = 16


def read_npy(name: str, stream: IO[bytes], size: int, maximum: int) -> NDArray[Any]:
    """The array of an npy file of `size` bytes; raises InvalidSpec or TooLarge, before anything is allocated."""
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
        else:
            raise InvalidSpec(f"{name}: must be npy of version 1.0 or 2.0, got {version[0]}.{version[1]}")
    except (ValueError, TypeError, SyntaxError, OverflowError, RecursionError, TokenError) as error:
        # The header is a Python literal; the message must not repeat its text.
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
    rest = size - stream.tell()
    if needed != rest:
        raise InvalidSpec(f"{name}: its header claims {needed} bytes of data, but {rest} follow")
    flat = np.frombuffer(_exactly(name, stream, needed), dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


def _exactly(name: str, stream: IO[bytes], size: int) -> bytearray:
    """`size` bytes, read in pieces: a member's claimed size is not allocated before its data arrives."""
    data = bytearray()
    while len(data) < size:
        piece = stream.read(min(_PIECE, size - len(data)))
        if not piece:
            raise InvalidSpec(f"{name}: ends after {len(data)} bytes of data, must have {size}")
        data += piece
    return data


def read_npz(handle: IO[bytes], maximum: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Inputs and targets; raises InvalidSpec or TooLarge."""
    try:
        with zipfile.ZipFile(handle) as archive:
            members = checked_members("npz", archive.infolist(), maximum, _MEMBERS, _name)
            return _read(archive, members, INPUTS, maximum), _read(archive, members, TARGETS, maximum)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, ValueError) as error:
        raise InvalidSpec(f"npz: is not an archive that can be read: {str(error)[:120]}") from None


def _name(file: str) -> str:
    """The array's name; raises InvalidSpec for a file that numpy.savez does not write."""
    name = file.removesuffix(".npy")
    if name == file or not name.isidentifier():
        raise InvalidSpec(f"npz: members must be named NAME.npy, got {file[:80]!r}")
    return name


def _read(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], names: tuple[str, ...], maximum: int
) -> NDArray[Any]:
    for name in names:
        if name in members:
            with archive.open(members[name]) as stream:
                return read_npy(name, stream, members[name].file_size, maximum)
    raise InvalidSpec(f"npz: must have a member {' or '.join(names[:2])}, got {', '.join(members)[:200] or 'none'}")
