"""Hostile files. Numbers in test names are lines of the security list (tests/security/guards.toml)."""

import io
import os
import pickle
import socket
import struct
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from talweg.errors import InvalidSpec, TooLarge

Read = Callable[..., Any]
HEADER = "{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"


class Planted:
    """Unpickling it creates a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def npy(shape: Any, data: bytes = b"", descr: Any = "<f8", header: str | None = None) -> bytes:
    """An npy file with any header."""
    text = header if header is not None else HEADER.format(descr=descr, shape=shape)
    line = text.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(line)) + line + data


def archive(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as made:
        for name, content in members:
            made.writestr(zipfile.ZipInfo(name), content, compress_type=method)
    return buffer.getvalue()


GOOD = npy((20, 3), np.random.default_rng(0).normal(size=(20, 3)).tobytes())
LABELS = npy((20,), (np.arange(20) % 2).astype("<i8").tobytes(), "<i8")


@pytest.mark.parametrize("form", ["npz", "npy"])
def test_07_objects_are_refused_and_a_planted_pickle_never_runs(read_file: Read, tmp_path: Path, form: str) -> None:
    canary = tmp_path / "canary"
    pickled = pickle.dumps(np.array([Planted(canary)] * 20, dtype=object))
    planted = npy((20,), pickled, "|O")
    content = archive(("inputs.npy", planted), ("targets.npy", LABELS)) if form == "npz" else planted
    with pytest.raises(InvalidSpec, match=r"never objects, got dtype object"):
        read_file(content, form)
    # Also bare pickles, and records with an object.
    for other in (pickled, npy((20,), pickled, [("a", "|O"), ("b", "<f8")])):
        with pytest.raises(InvalidSpec):
            read_file(other, "npy")
    assert not canary.exists()
    # Check the test itself: loaded with pickle, it creates the folder.
    with np.load(io.BytesIO(archive(("a.npy", planted))), allow_pickle=True) as loaded, pytest.raises(Exception):  # noqa: B017, PT011
        assert loaded["a"] is None
    assert canary.exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../inputs.npy", "members must be named NAME.npy"),
        ("/etc/inputs.npy", "members must be named NAME.npy"),
        ("..\\inputs.npy", "members must be named NAME.npy"),
        ("a/inputs.npy", "members must be named NAME.npy"),
        ("inputs", "members must be named NAME.npy"),
        ("C:inputs.npy", "members must be named NAME.npy"),
    ],
)
def test_08_members_with_paths_as_names_are_refused(read_file: Read, name: str, said: str) -> None:
    with pytest.raises(InvalidSpec, match=said):
        read_file(archive(("inputs.npy", GOOD), ("targets.npy", LABELS), (name, GOOD)), "npz")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_08_repeated_and_overlapping_members_are_refused(read_file: Read) -> None:
    with pytest.raises(InvalidSpec, match="must occur once"):
        read_file(archive(("inputs.npy", GOOD), ("targets.npy", LABELS), ("inputs.npy", GOOD)), "npz")
    with pytest.raises(InvalidSpec, match="overlaps the member before it"):
        read_file(_overlapping(), "npz")
    many = [(f"a{number}.npy", LABELS) for number in range(17)]
    with pytest.raises(InvalidSpec, match="at most 16 members, got 17"):
        read_file(archive(*many), "npz")


def _overlapping() -> bytes:
    """An archive whose two directory entries point to the first member."""
    content = bytearray(archive(("inputs.npy", GOOD), ("targets.npy", GOOD)))
    directory = content.find(b"PK\x01\x02", content.find(b"PK\x01\x02") + 1)
    struct.pack_into("<I", content, directory + 42, 0)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (npy((10**11,)), "at most 128000000 bytes, but its header claims 800000000000|at most 10000000 rows"),
        (npy((20, 10**9)), "at most 128000000 bytes, but its header claims"),
        (npy((20, 3), bytes(479)), "claims 480 bytes of data, but 479 follow"),
        (npy((20, 3), bytes(481)), "claims 480 bytes of data, but 481 follow"),
        (npy((-1, 3)), "dimensions, got shape"),
        (npy((2**62, 2**62)), "dimensions, got shape|rows"),
        (npy((20,) * 9), "1 to 8 dimensions"),
        (npy((), b"12345678"), "1 to 8 dimensions"),
        (npy(None, header="{'descr': '<f8', 'fortran_order': False, 'shape': (1,"), "cannot be read|can be read"),
        (npy(None, header="(" * 60000), "can be read"),
        (npy(None, header="{'descr': '<f8', 'fortran_order': False, 'shape': (20,3), 'more': 1}"), "can be read"),
        (npy(None, header="__import__('os').getcwd()"), "can be read"),
        (b"", "can be read"),
        (b"\x93NUMPY\x09\x09", "version"),
    ],
)
def test_09_a_header_is_compared_with_the_file_before_any_allocation(
    read_file: Read, content: bytes, said: str
) -> None:
    import tracemalloc

    for form, file in (("npy", content), ("npz", archive(("inputs.npy", content), ("targets.npy", LABELS)))):
        tracemalloc.start()
        with pytest.raises((InvalidSpec, TooLarge), match=said):
            read_file(file, form)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 30_000_000, (form, peak)


def test_09_a_zip_bomb_is_refused_by_its_claimed_size(read_file: Read) -> None:
    bomb = npy((125_000, 128), bytes(125_000 * 128 * 8))
    content = archive(("inputs.npy", bomb), ("targets.npy", bomb), method=zipfile.ZIP_DEFLATED)
    assert len(content) < 400_000
    with pytest.raises(TooLarge, match="must unpack to at most 128000000 bytes, but its members claim"):
        read_file(content, "npz")


def test_10_a_parquet_file_of_twenty_million_rows_is_refused_in_little_memory(parse_file: Read) -> None:
    rows = 20_000_000
    buffer = io.BytesIO()
    with parquet.ParquetWriter(buffer, pa.schema([("x", pa.float64()), ("y", pa.int64())])) as writer:
        piece = pa.table({"x": np.zeros(1_000_000), "y": np.zeros(1_000_000, np.int64)})
        for _ in range(rows // 1_000_000):
            writer.write_table(piece)
    content = buffer.getvalue()
    assert len(content) < 2_000_000
    with pytest.raises(TooLarge, match=r"parquet: must unpack to at most 128000000 bytes"):
        parse_file(content, "parquet")
    # Also with a footer that claims one row: rows are counted while reading, or the file is inconsistent.
    forged = content.replace(varint(rows), varint(1))
    if forged != content:
        with pytest.raises((TooLarge, InvalidSpec)):
            parse_file(forged, "parquet")


def varint(number: int) -> bytes:
    """A number as Parquet's footer writes it: zigzag, seven bits a byte."""
    left, out = number << 1, bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes(out + bytes([left]))


@pytest.mark.parametrize("damage", ["footer", "length", "cut", "noise"])
def test_10_a_damaged_parquet_file_is_refused(parse_file: Read, damage: str) -> None:
    buffer = io.BytesIO()
    parquet.write_table(pa.table({"x": np.arange(50.0), "y": np.arange(50.0)}), buffer)
    content = bytearray(buffer.getvalue())
    if damage == "footer":
        content[-200:-100] = b"\xff" * 100
    elif damage == "length":
        content[-8:-4] = b"\xff\xff\xff\x7f"
    elif damage == "cut":
        del content[len(content) // 2 :]
    else:
        content = bytearray(b"PAR1" + os.urandom(1000) + b"PAR1")
    with pytest.raises((InvalidSpec, TooLarge)):
        parse_file(bytes(content), "parquet")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x,y\n" + b"1" * 40_000_000, "a line must have at most 1000000 bytes"),
        (b",".join(b"c%d" % i for i in range(1_000_000)), "a line must have|at most 10000 columns"),
        (b",".join(b"c%d" % i for i in range(12_000)) + b"\n", "at most 10000 columns, got 12000"),
        (b"x,y\n1,\x002\n" * 20, "got a NUL"),
        (b"x,y\n" + b"\n" * 10_000_001, "at most 10000000 lines"),
        (b"x,y\n" + b'"1,2\n' * 20, "column 'y': there must be 2 to 10000 classes"),
        (b"\xad\x02,y\n" + b"1,2\n" * 20, "columns: a name must have 1 to 200 printable characters"),
    ],
)
def test_11_long_lines_many_columns_and_nuls_are_refused(read_file: Read, content: bytes, said: str) -> None:
    with pytest.raises((InvalidSpec, TooLarge), match=said):
        read_file(content, "csv")


@pytest.fixture
def listener() -> Iterator[tuple[str, list[bytes]]]:
    """A server that records connections."""
    connections: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        ending = threading.Event()

        def listen() -> None:
            while not ending.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                connections.append(b"connection")
                connection.close()

        thread = threading.Thread(target=listen)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/data.csv", connections
        ending.set()
        thread.join()


@pytest.mark.parametrize("form", ["npz", "npy", "csv", "parquet"])
def test_12_an_address_is_never_followed(parse_file: Read, listener: tuple[str, list[bytes]], form: str) -> None:
    url, connections = listener
    with pytest.raises(InvalidSpec):
        parse_file(url.encode(), form)
    with pytest.raises(InvalidSpec):
        parse_file(b"/etc/passwd", form)
    assert connections == []


def test_22_a_parse_over_its_time_or_memory_fails_alone(parse_file: Read, npz: Read) -> None:
    with pytest.raises(TooLarge, match=r"longer than 0\.01 s"):
        parse_file(npz(), "npz", seconds=0.01)
    # Labels that take 12 times the limit.
    wide = npy((200_000,), b"\0" * 200_000 * 4 * 150, "<U150")
    with pytest.raises(TooLarge, match="at most"):
        parse_file(archive(("inputs.npy", GOOD), ("targets.npy", wide)), "npz", maximum=10_000_000)
    assert parse_file(npz(), "npz").kind == "labels"


def test_22_the_parser_process_limits_its_memory() -> None:
    import subprocess
    import sys

    code = (
        "from talweg.datasets.parser_process import limit\n"
        "limit(1_000_000, 60)\n"
        "try:\n    bytearray(3_000_000_000)\nexcept MemoryError:\n    print('held')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "held\n"
