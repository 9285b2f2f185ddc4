"""Zips of images, one folder for each class."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from talweg.datasets.packing import pack
from talweg.datasets.preparing import Prepared
from talweg.datasets.unpacking import unpack
from talweg.errors import InvalidSpec, TooLarge

Read = Callable[..., Prepared]


def image(value: int = 0, *, size: tuple[int, int] = (4, 3), mode: str = "L", kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, value if mode == "L" else (value, 0, 255)).save(buffer, kind)
    return buffer.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def folders(root: str = "", **changed: Any) -> dict[str, bytes]:
    return {f"{root}{'ab'[i % 2]}/{i}.png": image(i * 10, **changed) for i in range(20)}


def test_images_keep_their_pixels_and_folders_are_their_classes(read_file: Read) -> None:
    members = folders("pictures/") | {"__MACOSX/pictures/a/._0.png": b"junk", "pictures/a/.DS_Store": b"junk"}
    made = read_file(zipped(members), "images")
    assert made.inputs is not None
    assert made.inputs.shape == (20, 1, 3, 4)
    assert (str(made.inputs.dtype), made.classes) == ("uint8", ["a", "b"])
    assert made.inputs[:, 0, 0, 0].tolist() == [i * 10 for i in range(20)]
    assert made.targets.tolist() == [0, 1] * 10
    buffer = io.BytesIO()
    digest, size = pack(made, buffer)
    assert unpack("pictures", digest, size, buffer.getvalue()).inputs.max() == 190 / 255


@pytest.mark.parametrize(("mode", "kind", "channels"), [("RGB", "PNG", 3), ("RGB", "JPEG", 3), ("L", "JPEG", 1)])
def test_colours_give_three_channels(read_file: Read, mode: str, kind: str, channels: int) -> None:
    made = read_file(zipped(folders(mode=mode, kind=kind)), "images")
    assert made.input_shape == (channels, 3, 4)


def test_folders_may_name_the_parts(read_file: Read) -> None:
    members = {f"{('train', 'test')[i % 4 == 3]}/{'ab'[i // 2 % 2]}/{i}.png": image(i * 9) for i in range(24)}
    made = read_file(zipped(members), "images")
    assert made.split_by == "column split"
    assert np.bincount(made.parts).tolist()[2] == 6
    assert made.notes == ["validation taken from the rows for training"]


def test_sizes_that_differ_are_refused_with_a_size_to_scale_to(read_file: Read) -> None:
    members = folders() | {"a/odd.png": image(7, size=(5, 9))}
    with pytest.raises(
        InvalidSpec, match=r"most have 3 × 4, but 'a/odd.png' has 9 × 5; scale them: image_size=\[3, 4\]"
    ):
        read_file(zipped(members), "images")
    assert read_file(zipped(members), "images", image_size=[3, 4]).input_shape == (1, 3, 4)
    with pytest.raises(InvalidSpec, match=r"image_size: must be height and width in \[1, 4096\], got \[0, 4\]"):
        read_file(zipped(members), "images", image_size=[0, 4])


def claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_09_an_image_is_refused_by_the_size_that_it_claims(read_file: Read) -> None:
    with pytest.raises(TooLarge, match=r"one must have at most 16,000,000 pixels, 'a/0.png' claims 8000 × 8000"):
        read_file(zipped(folders() | {"a/0.png": claiming(8000, 8000)}), "images")


def test_09_images_are_refused_by_their_size_together(read_file: Read) -> None:
    many = {f"{'ab'[i % 2]}/{i}.png": claiming(3000, 3000) for i in range(20)}
    with pytest.raises(TooLarge, match=r"images: must take at most 128000000 bytes, .*image_size=\[1500, 1500\]"):
        read_file(zipped(many), "images")
    # A header that claims more than the file holds is found when it is decoded.
    with pytest.raises(InvalidSpec, match="cannot be read"):
        read_file(zipped({f"{'ab'[i % 2]}/{i}.png": claiming(300, 300) for i in range(20)}), "images")


@pytest.mark.parametrize(
    "name", ["../a/1.png", "/a/1.png", "a\\1.png", "a/../1.png", "C:/1.png", "a//1.png", "a/\n.png"]
)
def test_08_a_path_that_is_not_plain_is_refused(read_file: Read, name: str) -> None:
    with pytest.raises(InvalidSpec, match="images: a file must have a plain path"):
        read_file(zipped(folders() | {name: image()}), "images")


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({}, "got none"),
        ({"1.png": image(), "2.png": image()}, "each must be in the folder of its class"),
        ({"x/a/1.png": image(), "y/b/2.png": image()}, "each must be in the folder of its class.*got 'x/a/1.png'"),
        ({"a/1.txt": b"text"}, r"must hold .png, .jpg, .jpeg only, got 'a/1.txt'"),
        ({"a/1.png": b"text", "b/2.png": image()}, "images: is not a zip of images that can be read|cannot identify"),
        ({f"a/{i}.png": image(i) for i in range(20)}, "there must be 2 to 10000 classes, got 1, 'a' in every row"),
        ({f"{'ab'[i % 2]}/{i}.png": image(i) for i in range(4)}, "rows: there must be at least 10"),
    ],
)
def test_a_zip_of_anything_else_is_refused(read_file: Read, members: dict[str, bytes], said: str) -> None:
    with pytest.raises(InvalidSpec, match=said):
        read_file(zipped(members), "images")
    with pytest.raises(InvalidSpec, match="is not a zip of images"):
        read_file(b"text", "images")
