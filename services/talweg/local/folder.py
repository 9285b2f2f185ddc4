"""The laboratory's folder, `.talweg/`: paths, permissions, format version, locks and logs.

The kernel releases a lock when its holder ends for any reason. Each process has one log, private and limited in size.
"""

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from io import FileIO
from pathlib import Path
from typing import Any

from talweg.errors import DiskFull, LocalStackError, NewerLaboratory, NotWritable

FORMAT = 1
# A socket's path must fit into 104 bytes on macOS, 108 on Linux, its final NUL included.
SOCKET_LIMIT = 100
# In a redis+socket:// URL other characters need quoting, which Kombu does not undo.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]+")
# Bytes: a longer log is renamed to NAME.log.1 when its process starts.
LARGEST = 10_000_000
_BLOCK = 65_536


def remove_socket_folder(folder: Path) -> None:
    """Remove the broker's socket and its folder; no effect where the folder has other files."""
    with contextlib.suppress(OSError):
        (folder / "broker.sock").unlink(missing_ok=True)
        folder.rmdir()


def acquire_lock(path: Path, *, text: str = "") -> int | None:
    """An open descriptor that holds the lock, with `text` written to the file; None where it is held already."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    write_lock(descriptor, text)
    return descriptor


def write_lock(descriptor: int, text: str) -> None:
    """Replace the text of a held lock in place, which works on a full disk."""
    written = os.pwrite(descriptor, text.encode(), 0)
    os.ftruncate(descriptor, written)


def is_held(path: Path) -> bool:
    """Whether a process holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # A shared lock, so that two callers of this function do not report each other.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def exclusive_lock(path: Path, *, timeout: float) -> Iterator[None]:
    """Hold the lock; wait for it at most `timeout` seconds.

    Raises:
        LocalStackError: Another process still holds it.
    """
    deadline = time.monotonic() + timeout
    while (descriptor := acquire_lock(path, text=str(os.getpid()))) is None:
        if time.monotonic() > deadline:
            holder = path.read_text(encoding="utf-8") or "unknown"
            raise LocalStackError(
                f"{path.parent}: process {holder} has been starting or stopping the stack for {timeout:.0f} s"
            )
        time.sleep(0.05)
    try:
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Folder:
    """Paths in the laboratory's folder; only `prepare` creates files.

    Attributes:
        home: The folder, absolute and with links resolved, so that a laboratory has one path.
    """

    home: Path

    @classmethod
    def of(cls, home: Path) -> "Folder":
        """The folder at `home`, which need not exist."""
        return cls(Path(os.path.realpath(home.expanduser())))

    @property
    def state(self) -> Path:
        """The state of the stack: pids, ports, phase."""
        return self.home / "stack.json"

    @property
    def start_lock(self) -> Path:
        """Held during start and stop of a stack."""
        return self.home / "start.lock"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the supervisor while it runs."""
        return self.home / "supervisor.lock"

    @property
    def token_file(self) -> Path:
        """The local API's bearer token."""
        return self.home / "token"

    @property
    def database(self) -> Path:
        """The SQLite database."""
        return self.home / "talweg.db"

    @property
    def broker(self) -> Path:
        """Valkey's append-only file."""
        return self.home / "broker"

    @property
    def mlflow(self) -> Path:
        """MLflow's database and artifacts."""
        return self.home / "mlflow"

    @property
    def logs(self) -> Path:
        """The folder of logs, one for each process."""
        return self.home / "logs"

    @property
    def rules(self) -> Path:
        """Sources of users' own optimizers, which clients on this machine write and the API reads."""
        return self.home / "rules"

    def log(self, name: str) -> Path:
        """The log of the process `name`."""
        return self.logs / f"{name}.log"

    @cached_property
    def marker(self) -> str:
        """The value of TALWEG_STACK in the environment of every process of this stack.

        The id distinguishes folders with equal paths (containers, mounts); the path distinguishes copies of a folder.
        """
        return f"{self._label()['id']}:{self.home}"

    def prepare(self) -> None:
        """Create missing folders and files, private to their owner, and check existing ones.

        Raises:
            NotWritable: The folder cannot be created or written.
            DiskFull: The disk is full.
            NewerLaboratory: A newer version of Talweg wrote it.
        """
        if "?" in str(self.home):
            raise LocalStackError(f"{self.home}: a laboratory's path must not contain '?': SQLite would cut it there")
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.home.chmod(0o700)
            self.make()
            ignore = self.home / ".gitignore"
            if not ignore.exists():
                write_private(ignore, "*\n")
            # Permission bits are not enough (root, read-only mounts, full disks): write a test file.
            with tempfile.TemporaryFile(dir=self.home) as probe:
                probe.write(b"\0")
            self._sign()
        except OSError as error:
            if DiskFull.caused(error):
                free = shutil.disk_usage(self.home.parent).free / 1e6
                raise DiskFull(
                    f"{self.home}: its disk is full, {free:.1f} MB are free; a stack needs 10 MB to start: make room"
                ) from error
            raise NotWritable(f"{self.home}: cannot be written: {error.strerror or error}") from error

    def make(self) -> None:
        """Create missing subfolders; raises OSError."""
        for folder in (self.logs, self.broker, self.mlflow, self.rules):
            folder.mkdir(mode=0o700, exist_ok=True)

    def check(self) -> None:
        """Raise NewerLaboratory where a newer version of Talweg wrote the folder."""
        label = self._label()
        if label["format"] > FORMAT:
            raise NewerLaboratory(
                f"{self.home}: was written by Talweg {label['version']} (format {label['format']}); this is "
                f"{version('talweg')} (format {FORMAT}): pip install --upgrade talweg, or choose another --home"
            )

    def token(self) -> str:
        """The token, created by the first call with mode 0600 under any umask.

        Raises:
            LocalStackError: Other users can read the file, or own it.
        """
        # An existing token must be readable on a full disk: write nothing then.
        if not os.path.lexists(self.token_file):
            with contextlib.suppress(FileExistsError):
                write_private(self.token_file, secrets.token_urlsafe(32), exclusive=True)
        found = self.token_file.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise LocalStackError(f"{self.token_file}: must be a regular file owned by you; remove it and start again")
        if found.st_mode & 0o077:
            mode = stat.S_IMODE(found.st_mode)
            raise LocalStackError(
                f"{self.token_file}: must be readable by its owner only (0600), got {mode:04o}: others may know "
                "the token; remove the file and start again"
            )
        return self.token_file.read_text(encoding="utf-8").strip()

    def socket(self) -> tuple[Path, Path | None]:
        """The path of the broker's socket, and its temporary folder where the path in `home` is too long."""
        path = self.home / "broker.sock"
        if _fits(path):
            return path, None
        folder = Path(tempfile.mkdtemp(prefix="talweg-"))
        if not _fits(folder / "broker.sock"):
            folder.rmdir()
            folder = Path(tempfile.mkdtemp(prefix="talweg-", dir="/tmp"))
        return folder / "broker.sock", folder

    def _label(self) -> dict[str, Any]:
        try:
            label = json.loads((self.home / "laboratory.json").read_text(encoding="utf-8"))
            return {"id": str(label["id"]), "format": int(label["format"]), "version": str(label["version"])}
        except FileNotFoundError:
            return {"id": "", "format": 0, "version": ""}
        except (ValueError, KeyError, TypeError) as error:
            raise LocalStackError(f"{self.home / 'laboratory.json'}: cannot be parsed: {error}") from error

    def _sign(self) -> None:
        path = self.home / "laboratory.json"
        signed = {"id": secrets.token_hex(8), "format": FORMAT, "version": version("talweg")}
        # Two processes must agree on one id: the first one to write it wins.
        with contextlib.suppress(FileExistsError):
            write_private(path, json.dumps(signed) + "\n", exclusive=True)
        self.check()
        label = self._label()
        if (label["format"], label["version"]) != (signed["format"], signed["version"]):
            write_private(path, json.dumps(signed | {"id": label["id"]}) + "\n")


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= SOCKET_LIMIT and _PLAIN_PATH.fullmatch(str(path)) is not None


def write_private(path: Path, text: str, *, exclusive: bool = False) -> None:
    """Write `text` to a file of mode 0600 under any umask, whole or not at all.

    Raises:
        FileExistsError: `exclusive`, and the file exists; a broken link counts.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text)
        if exclusive:
            # Unlike rename, link never reoffsets: one of two writers wins, and no reader sees half a file.
            os.link(new, path)
        else:
            new.replace(path)
            return
    finally:
        new.unlink(missing_ok=True)


def open_log(path: Path) -> FileIO:
    """Open the log for appending, and create its folder if missing; raises OSError."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.exists() and path.stat().st_size > LARGEST:
        path.replace(path.with_suffix(".log.1"))
    return FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab")


def open_log_or_none(path: Path) -> FileIO:
    """Open the log, or the null device where that fails: the process must run without a log too."""
    try:
        return open_log(path)
    except OSError:
        return FileIO(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), "wb")


def tail(path: Path, lines: int) -> list[str]:
    """The last lines, without reading a long file whole; empty where there is no file."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            start = max(0, end - max(_BLOCK, lines * 512))
            file.seek(start)
            found = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return found[-lines:] if lines else []


def follow(paths: dict[str, Path], *, going: Callable[[], bool]) -> Iterator[tuple[str, str]]:
    """(name, line) for each line written from now on, until `going` returns False."""
    offsets = {name: path.stat().st_size if path.exists() else 0 for name, path in paths.items()}
    pending = dict.fromkeys(paths, b"")
    while True:
        more = going()
        for name, path in paths.items():
            fresh, offsets[name] = _since(path, offsets[name])
            *complete, pending[name] = (pending[name] + fresh).split(b"\n")
            for line in complete:
                yield name, line.decode("utf-8", "replace")
        if not more:
            return
        time.sleep(0.2)


def _since(path: Path, offset: int) -> tuple[bytes, int]:
    try:
        # A shorter file is a new one: the old one was renamed.
        start = offset if path.stat().st_size >= offset else 0
        with path.open("rb") as file:
            file.seek(start)
            fresh = file.read()
    except OSError:
        return b"", 0
    return fresh, start + len(fresh)
