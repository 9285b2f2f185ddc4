"""The npz format: a zip archive with the members `inputs` and `targets`, each an npy file. Nothing is extracted."""

import zipfile
import zlib
from typing import IO, Any, Final

from numpy.typing import NDArray

from talweg.datasets.npy import read_npy
from talweg.errors import InvalidSpec, TooLarge

# What people call them, in the order in which they are looked for.
INPUTS: Final = ("inputs", "X", "x")
TARGETS: Final = ("targets", "y", "Y")
_MEMBERS: Final = 16
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED: Final = 0x1
# A local header's fixed part; name and extra field come on top.
_LOCAL_HEADER: Final = 30


def read_npz(handle: IO[bytes], maximum: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Inputs and targets; raises InvalidSpec or TooLarge."""
    try:
        with zipfile.ZipFile(handle) as archive:
            members = _checked(archive.infolist(), maximum)
            return _read(archive, members, INPUTS, maximum), _read(archive, members, TARGETS, maximum)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, ValueError) as error:
        raise InvalidSpec(f"npz: is not an archive that can be read: {str(error)[:120]}") from None


def _checked(found: list[zipfile.ZipInfo], maximum: int) -> dict[str, zipfile.ZipInfo]:
    """The members by name; an archive that numpy.savez would not have written is refused before one is opened."""
    if len(found) > _MEMBERS:
        raise InvalidSpec(f"npz: must have at most {_MEMBERS} members, got {len(found)}")
    members: dict[str, zipfile.ZipInfo] = {}
    end = 0
    for member in sorted(found, key=lambda info: info.header_offset):
        file = member.filename
        name = file.removesuffix(".npy")
        if name == file or not name.isidentifier():
            raise InvalidSpec(f"npz: members are named NAME.npy, got {file[:80]!r}")
        if name in members:
            raise InvalidSpec(f"npz: each member must be there once, got {name!r} twice")
        if member.compress_type not in _METHODS or member.flag_bits & _ENCRYPTED:
            raise InvalidSpec(f"npz: {name} must be stored or deflated, and not encrypted")
        if member.header_offset < end:
            raise InvalidSpec(f"npz: {name} overlaps the member before it")
        end = member.header_offset + _LOCAL_HEADER + len(file) + member.compress_size
        members[name] = member
    total = sum(member.file_size for member in found)
    # Headers come on top of the data.
    if total > maximum + 65536 * len(found):
        raise TooLarge(f"npz: must unpack to at most {maximum} bytes, but its members claim {total}")
    return members


def _read(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], names: tuple[str, ...], maximum: int
) -> NDArray[Any]:
    for name in names:
        if name in members:
            with archive.open(members[name]) as stream:
                return read_npy(name, stream, members[name].file_size, maximum)
    raise InvalidSpec(f"npz: must have a member {' or '.join(names[:2])}, got {', '.join(members)[:200] or 'none'}")
