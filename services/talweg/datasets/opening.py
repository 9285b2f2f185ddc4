"""Open an uploaded text file: unpack it within a limit, find its encoding, and read it as UTF-8, as often as needed."""

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Final

import pyarrow as pa

from talweg.datasets.options import MAXIMUM_LINE, MAXIMUM_ROWS
from talweg.errors import InvalidSpec, TooLarge

_PIECE: Final = 1 << 20
_MAGIC: Final = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "excel",
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"\x93NUMPY": "npy",
}
_MARKS: Final = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
# Of a text without a byte order mark that is not UTF-8. The first has bytes without a character; the second has not.
_WESTERN: Final = ("cp1252", "latin-1")
ENCODINGS: Final = (
    "utf-8", "utf-16", "utf-16-le", "utf-16-be", *_WESTERN, "cp1250", "cp1251", "cp1253", "cp1254", "iso8859-2",
    "iso8859-5", "iso8859-7", "iso8859-9", "iso8859-15", "koi8-r", "mac-roman", "shift_jis", "euc_jp", "gb18030",
    "big5", "euc_kr",
)  # fmt: skip
_TABLES: Final = (".csv", ".tsv", ".txt", ".tab", ".data")
EXCEL: Final = (
    "file: is an Excel workbook, which is not read; in Excel choose Save As, CSV UTF-8 (*.csv), "
    "or in Python pandas.read_excel(FILE), and upload that"
)
_DAMAGE: Final = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, ValueError)


def kind_of(handle: IO[bytes]) -> str | None:
    """What the file's first bytes say it is, such as "gzip"; None for text and anything else."""
    handle.seek(0)
    head = handle.read(8)
    handle.seek(0)
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


@dataclass
class TextFile:
    """A text file, packed or not; `filters` change its text piece by piece, each piece ending with a line.

    Attributes:
        notes: What was found: how it is packed, which encoding it has.
    """

    handle: IO[bytes]
    maximum: int
    encoding: str = ""
    packing: str | None = None
    notes: list[str] = field(default_factory=list)
    filters: list[Callable[[bytes], bytes]] = field(default_factory=list)

    @classmethod
    def of(cls, handle: IO[bytes], maximum: int, encoding: str | None = None) -> "TextFile":
        """Find packing and encoding, and check lines and their number in one pass; raises InvalidSpec or TooLarge."""
        kind = kind_of(handle)
        if kind == "excel":
            raise InvalidSpec(EXCEL)
        if kind in ("parquet", "arrow", "npy"):
            raise InvalidSpec(f"csv: must be text, but the file begins as {kind} does; upload it as format {kind}")
        if encoding is not None and encoding not in ENCODINGS:
            raise InvalidSpec(f"encoding: must be one of {', '.join(ENCODINGS)}, got {encoding[:40]!r}")
        file = cls(handle, maximum, packing=kind)
        if kind is not None:
            file.notes.append(f"unpacked: {kind}")
        file._find_encoding(encoding)
        if file.encoding != "utf-8":
            file.notes.append(f"encoding: {file.encoding}{' (given)' if encoding else ' (detected)'}")
        return file

    def open(self) -> IO[bytes]:
        """The text as UTF-8 from its start, without a byte order mark."""
        pieces: Iterable[bytes] = self._utf8()
        if self.filters:
            pieces = self._filtered(pieces)
        return io.BufferedReader(_Stream(iter(pieces)), _PIECE)

    def head(self, size: int) -> str:
        """The first characters, about `size` bytes, ending with a whole line where the text is longer."""
        with self.open() as stream:
            text = stream.read(size)
            more = bool(stream.read(1))
        if more and (end := text.rfind(b"\n")) >= 0:
            text = text[: end + 1]
        return text.decode("utf-8", "replace")

    def _find_encoding(self, given: str | None) -> None:
        first = next(self._unpacked(), b"")
        for mark, encoding in _MARKS.items():
            if first.startswith(mark):
                given = self.encoding = encoding
                break
        if given is not None:
            self.encoding = {"utf-16": "utf-16-le"}.get(given, given)
            try:
                return self._check()
            except UnicodeDecodeError as error:
                raise InvalidSpec(f"encoding: the file is not {given}: {error.reason}") from None
        self.encoding = _utf16(first[:4096]) or "utf-8"
        try:
            return self._check()
        except UnicodeDecodeError:
            if self.encoding != "utf-8":
                raise InvalidSpec(f"csv: must be text, cannot be read as {self.encoding}") from None
        for encoding in _WESTERN:
            self.encoding = encoding
            try:
                return self._check()
            except UnicodeDecodeError:
                continue
        raise AssertionError("every byte is a character of latin-1")

    def _check(self) -> None:
        """Raise InvalidSpec for NULs, TooLarge for too long lines or too many, in one pass over pieces of 1 MiB.

        Raises UnicodeDecodeError where the text does not have the encoding.
        """
        length = lines = 0
        for piece in self._utf8():
            if b"\0" in piece:
                raise InvalidSpec("csv: must be text, got a NUL")
            parts = piece.split(b"\n")
            longest = max(length + len(parts[0]), *(len(part) for part in parts[1:]), 0)
            if longest > MAXIMUM_LINE:
                raise TooLarge(
                    f"csv: a line must have at most {MAXIMUM_LINE} bytes, line {lines + 1} or after has more"
                )
            length = len(parts[-1]) + (length if len(parts) == 1 else 0)
            lines += len(parts) - 1
            if lines > MAXIMUM_ROWS + 1:
                raise TooLarge(f"csv: must have at most {MAXIMUM_ROWS} lines, got more")

    def _utf8(self) -> Iterator[bytes]:
        """The text as UTF-8; raises UnicodeDecodeError."""
        decoder = codecs.getincrementaldecoder(self.encoding)()
        first = True
        for raw in self._unpacked():
            # Some programs end lines with a carriage return alone. A line has at most as many bytes as a piece.
            returns = self.encoding[:3] != "utf" or self.encoding == "utf-8"
            piece = raw.replace(b"\r", b"\n") if returns and b"\n" not in raw else raw
            # ASCII is UTF-8, and most files are ASCII.
            if self.encoding == "utf-8" and piece.isascii() and not decoder.getstate()[0]:
                yield piece
            elif text := decoder.decode(piece):
                yield (text.removeprefix("\ufeff") if first else text).encode("utf-8", "replace")
            first = False
        if rest := decoder.decode(b"", final=True):
            yield rest.encode("utf-8", "replace")

    def _filtered(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        kept = b""
        for piece in pieces:
            whole, newline, rest = (kept + piece).rpartition(b"\n")
            kept = rest
            if newline:
                yield self._changed(whole + newline)
        if kept:
            yield self._changed(kept)

    def _changed(self, lines: bytes) -> bytes:
        for change in self.filters:
            lines = change(lines)
        return lines

    def _unpacked(self) -> Iterator[bytes]:
        """The bytes, unpacked; raises TooLarge past `maximum`, InvalidSpec for damage."""
        self.handle.seek(0)
        total = 0
        try:
            with self._reader() as stream:
                while piece := stream.read(_PIECE):
                    total += len(piece)
                    if total > self.maximum:
                        raise TooLarge(f"file: must unpack to at most {self.maximum} bytes, got more")
                    yield piece
        except UnicodeDecodeError:
            raise
        except _DAMAGE as error:
            raise InvalidSpec(f"file: cannot be unpacked as {self.packing}: {str(error)[:120]}") from None

    def _reader(self) -> Any:
        if self.packing == "gzip":
            return gzip.GzipFile(fileobj=self.handle)
        if self.packing == "bzip2":
            return bz2.BZ2File(self.handle)
        if self.packing == "xz":
            return lzma.LZMAFile(self.handle)
        if self.packing == "zstd":
            return pa.CompressedInputStream(pa.PythonFile(_Kept(self.handle), mode="r"), "zstd")
        if self.packing == "zip":
            return _only_table(zipfile.ZipFile(self.handle))
        return _Kept(self.handle)


class _Kept:
    """A file that its reader does not close."""

    closed = False

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle

    def read(self, size: int = -1) -> bytes:
        return self._handle.read(size)

    def close(self) -> None:
        pass

    def __enter__(self) -> "_Kept":
        return self

    def __exit__(self, *_: object) -> None:
        pass


class _Stream(io.RawIOBase):
    """Pieces of bytes as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._held:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._held = memoryview(piece)
        count = min(len(buffer), len(self._held))
        buffer[:count] = self._held[:count]
        self._held = self._held[count:]
        return count


def _utf16(head: bytes) -> str | None:
    """UTF-16 without a byte order mark has a NUL in almost every second byte of western text."""
    if len(head) < 4 or head.count(0) * 3 < len(head):
        return None
    even, odd = head[0::2].count(0), head[1::2].count(0)
    return "utf-16-le" if odd > 10 * even else "utf-16-be" if even > 10 * odd else None


def _only_table(archive: zipfile.ZipFile) -> IO[bytes]:
    """The one table in a zip; raises InvalidSpec where there is none or another file beside it."""
    members = [member for member in archive.infolist() if not member.is_dir()]
    names = [member.filename for member in members]
    if "[Content_Types].xml" in names or any(name.startswith("xl/") for name in names):
        raise InvalidSpec(EXCEL)
    tables = [member for member in members if member.filename.lower().endswith(_TABLES)]
    if len(members) != 1 or len(tables) != 1:
        shown = ", ".join(name[:40] for name in names[:4])
        raise InvalidSpec(
            f"zip: must hold one table ({', '.join(_TABLES)}), got {len(names)} files ({shown}); "
            "unpack it and upload the one to learn from, or upload images as format images"
        )
    if members[0].flag_bits & 1:
        raise InvalidSpec(f"zip: {names[0][:80]} must not be encrypted; unpack it and upload the file in it")
    return archive.open(members[0])
