"""The members of a zip, checked before any is unpacked."""

import zipfile
from collections.abc import Callable
from typing import Final

from talweg.errors import InvalidSpec, TooLarge

_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED: Final = 0x1
# Bytes of a local header's fixed part, without name and extra field.
_LOCAL_HEADER: Final = 30


def checked_members(
    form: str, found: list[zipfile.ZipInfo], maximum: int, most: int, name_of: Callable[[str], str]
) -> dict[str, zipfile.ZipInfo]:
    """The members by what `name_of` makes of their names, in the order of the directory.

    Raises:
        InvalidSpec: A name is refused or occurs twice, members overlap, or one is packed in another way than deflated.
        TooLarge: They claim to unpack to more than `maximum` bytes, and 64 KiB for each one's header.
    """
    if len(found) > most:
        raise InvalidSpec(f"{form}: must have at most {most} members, got {len(found)}")
    members: dict[str, zipfile.ZipInfo] = {}
    end = 0
    for member in sorted(found, key=lambda info: info.header_offset):
        file = member.filename
        name = name_of(file)
        if name in members:
            raise InvalidSpec(f"{form}: each member must occur once, got {name[:80]!r} twice")
        if member.compress_type not in _METHODS or member.flag_bits & _ENCRYPTED:
            raise InvalidSpec(f"{form}: {name[:80]} must be stored or deflated, and not encrypted")
        if member.header_offset < end:
            raise InvalidSpec(f"{form}: {name[:80]} overlaps the member before it")
        end = member.header_offset + _LOCAL_HEADER + len(file) + member.compress_size
        members[name] = member
    total = sum(member.file_size for member in found)
    if total > maximum + 65536 * len(found):
        raise TooLarge(f"{form}: must unpack to at most {maximum} bytes, but its members claim {total}")
    return members
