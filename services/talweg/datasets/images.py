"""Read a zip of images, one folder for each class; sizes are checked before anything is decoded."""

import io
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from talweg.datasets.archives import checked_members
from talweg.datasets.columns import Column
from talweg.datasets.options import LONGEST_LABEL, Options
from talweg.datasets.splits import PART_NAMES
from talweg.errors import InvalidSpec, TooLarge

_SUFFIXES: Final = (".png", ".jpg", ".jpeg")
_KINDS: Final = ("PNG", "JPEG")
# Files that systems and archivers add.
_IGNORED: Final = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
_MEMBERS: Final = 200_000
# Of one image: what a decoder may have to hold at once.
_PIXELS: Final = 16_000_000
_GREY: Final = ("1", "L", "LA", "I;16")
_LARGEST_SIDE: Final = 4096
_DAMAGE: Final = (
    zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, ValueError, SyntaxError,
    Image.DecompressionBombError,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Images:
    """`inputs` (n, channels, height, width) in 0 … 255, the class of each, and its part where folders name parts."""

    inputs: NDArray[np.uint8]
    targets: NDArray[Any]
    parts: Column | None


def read_images(handle: IO[bytes], options: Options) -> Images:
    """The images in a zip of `class/file` or `part/class/file`; raises InvalidSpec or TooLarge."""
    try:
        with zipfile.ZipFile(handle) as archive:
            members = [m for m in archive.infolist() if not m.is_dir() and not _is_ignored(m.filename)]
            checked_members("images", members, options.maximum, _MEMBERS, lambda file: "/".join(_place(file)))
            if not members:
                raise InvalidSpec("images: the zip must hold a folder for each class with images in it, got none")
            places = _below_one_root([_place(member.filename) for member in members])
            sizes, grey = _sizes(archive, members)
            height, width = _one_size(members, sizes, options)
            shape = (len(members), 1 if grey else 3, height, width)
            if int(np.prod(shape, dtype=np.int64)) > options.maximum:
                raise TooLarge(
                    f"images: must take at most {options.maximum} bytes, got {len(members)} of {height} × {width} in "
                    f"{shape[1]} channels; scale them: image_size=[{height // 2}, {width // 2}]"
                )
            inputs = np.empty(shape, np.uint8)
            for position, member in enumerate(members):
                inputs[position] = _decoded(archive, member, grey=grey, size=(width, height))
    except _DAMAGE as error:
        raise InvalidSpec(f"images: is not a zip of images that can be read: {str(error)[:120]}") from None
    parts = [place[0].lower() for place in places if len(place) == 3]
    words = sorted(set(parts))
    column = Column("folder", "category", np.array([words.index(part) for part in parts], np.int64), tuple(words))
    return Images(inputs, np.array([place[-2] for place in places]), column if parts else None)


def _is_ignored(name: str) -> bool:
    return any(part in _IGNORED for part in name.split("/"))


def _place(name: str) -> tuple[str, ...]:
    """The folders and the file; raises InvalidSpec for a name that is no plain path to an image."""
    parts = tuple(name.split("/"))
    plain = all(part not in ("", ".", "..") and part.isprintable() for part in parts) and "\\" not in name
    if not plain or ":" in parts[0] or any(len(part) > LONGEST_LABEL for part in parts):
        raise InvalidSpec(f"images: a file must have a plain path such as class/name.png, got {name[:80]!r}")
    if PurePosixPath(name).suffix.lower() not in _SUFFIXES:
        raise InvalidSpec(f"images: must hold {', '.join(_SUFFIXES)} only, got {name[:80]!r}; leave it out")
    return parts


def _below_one_root(places: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Without a folder that all are in; raises InvalidSpec unless each is class/file, or each is part/class/file."""
    while len({place[0] for place in places}) == 1 and min(map(len, places)) > 2:
        places = [place[1:] for place in places]
    depths = {len(place) for place in places}
    if depths == {2} or (depths == {3} and all(place[0].lower() in PART_NAMES for place in places)):
        return places
    shown = "/".join(next(place for place in places if len(place) != 2))[:80] if depths != {2} else ""
    raise InvalidSpec(
        f"images: each must be in the folder of its class, as in cat/1.png, or in train/cat/1.png and test/cat/2.png, "
        f"got {shown!r}"
    )


def _opened(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Image.Image:
    with archive.open(member) as stream:
        content = stream.read(member.file_size + 1)
    image = Image.open(io.BytesIO(content), formats=_KINDS)
    if image.width * image.height > _PIXELS:
        raise TooLarge(
            f"images: one must have at most {_PIXELS:,} pixels, {member.filename[:80]!r} claims "
            f"{image.width} × {image.height}"
        )
    return image


def _sizes(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> tuple[list[tuple[int, int]], bool]:
    """Height and width of each by its header alone, and whether all are grey."""
    sizes, grey = [], True
    for member in members:
        image = _opened(archive, member)
        sizes.append((image.height, image.width))
        grey = grey and image.mode in _GREY
    return sizes, grey


def _one_size(members: list[zipfile.ZipInfo], sizes: list[tuple[int, int]], options: Options) -> tuple[int, int]:
    if options.image_size is not None:
        wanted = tuple(options.image_size)
        if len(wanted) != 2 or not all(1 <= side <= _LARGEST_SIDE for side in wanted):
            raise InvalidSpec(f"image_size: must be height and width in [1, {_LARGEST_SIDE}], got {list(wanted)}")
        return wanted[0], wanted[1]
    (usual, _), *others = Counter(sizes).most_common(2)
    if others:
        position = next(i for i, size in enumerate(sizes) if size != usual)
        height, width = sizes[position]
        raise InvalidSpec(
            f"images: all must have one size, most have {usual[0]} × {usual[1]}, but "
            f"{members[position].filename[:80]!r} has {height} × {width}; scale them: "
            f"image_size=[{usual[0]}, {usual[1]}]"
        )
    return usual


def _decoded(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, *, grey: bool, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """(channels, height, width)."""
    try:
        image = _opened(archive, member).convert("L" if grey else "RGB")
    except _DAMAGE as error:
        raise InvalidSpec(f"images: {member.filename[:80]!r} cannot be read: {str(error)[:120]}") from None
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(image, np.uint8)
    return pixels[None] if grey else np.moveaxis(pixels, -1, 0)
