"""The laboratory's folder, `.talweg/`: what lies where, who may read it, which version wrote it; its locks and logs.

The kernel releases a lock when its holder dies, however it dies. A log is one file a process, private, kept small.
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
# Inside a redis+socket:// URL anything else would need quoting that Kombu does not undo.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]+")
# A log longer than this is put aside (as NAME.log.1) when its process starts.
LARGEST = 10_000_000
_BLOCK = 65_536


def discard_scratch(folder: Path) -> None:
    """Remove the socket and its folder, and nothing else."""
    with contextlib.suppress(OSError):
        (folder / "broker.sock").unlink(missing_ok=True)
        folder.rmdir()


def acquire_lock(path: Path, *, note: str = "") -> int | None:
    """An open descriptor that holds the lock, with `note` as the file's text; None where another holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    sign_lock(descriptor, note)
    return descriptor


def sign_lock(descriptor: int, note: str) -> None:
    """Make `note` the text of a lock that is held; over the old one, which needs no room on a full disk."""
    written = os.pwrite(descriptor, note.encode(), 0)
    os.ftruncate(descriptor, written)


def is_held(path: Path) -> bool:
    """Whether some process holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two who only look do not take each other for the holder.
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
    while (descriptor := acquire_lock(path, note=str(os.getpid()))) is None:
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
    """Paths inside the laboratory's folder; nothing is touched before `prepare`.

    Attributes:
        home: The folder, absolute and with links resolved, so that one laboratory has one name.
    """

    home: Path

    @classmethod
    def of(cls, home: Path) -> "Folder":
        """The folder at `home`, which need not exist."""
        return cls(Path(os.path.realpath(home.expanduser())))

    @property
    def state(self) -> Path:
        """What runs: pids, ports, phase."""
        return self.home / "stack.json"

    @property
    def start_lock(self) -> Path:
        """Held while a stack is started or stopped."""
        return self.home / "start.lock"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the supervisor as long as it lives."""
        return self.home / "supervisor.lock"

    @property
    def token_file(self) -> Path:
        """The local API's bearer token."""
        return self.home / "token"

    @property
    def database(self) -> Path:
        """SQLite: the truth."""
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
        """One log a process."""
        return self.home / "logs"

    def log(self, name: str) -> Path:
        """The log of the process `name`."""
        return self.logs / f"{name}.log"

    @cached_property
    def marker(self) -> str:
        """What every process of this stack carries in its environment as TALWEG_STACK.

        The id tells folders of one path apart (containers, mounts), the path tells copies of one folder apart.
        """
        return f"{self._label()['id']}:{self.home}"

    def prepare(self) -> None:
        """Create what is missing, private to its owner, and check what is there.

        Raises:
            NotWritable: The folder cannot be created or written.
            DiskFull: There is no room.
            NewerLaboratory: A newer version of Talweg wrote it.
        """
        if "?" in str(self.home):
            raise LocalStackError(f"{self.home}: a laboratory's path must not hold '?': SQLite would cut it there")
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.home.chmod(0o700)
            self.make()
            ignore = self.home / ".gitignore"
            if not ignore.exists():
                write_private(ignore, "*\n")
            # Permission bits do not tell all (root, read-only mounts, full disks); writing does.
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
        """Create the folders in it that are missing; raises OSError."""
        for folder in (self.logs, self.broker, self.mlflow):
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
        """The token; created at the first call, exclusively and 0600 under any umask.

        Raises:
            LocalStackError: Others may read the file, or somebody else owns it.
        """
        # One that is there is found without writing, which a full disk would refuse.
        if not os.path.lexists(self.token_file):
            with contextlib.suppress(FileExistsError):
                write_private(self.token_file, secrets.token_urlsafe(32), exclusive=True)
        found = self.token_file.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise LocalStackError(f"{self.token_file}: must be a file of yours; remove it and start again")
        if found.st_mode & 0o077:
            mode = stat.S_IMODE(found.st_mode)
            raise LocalStackError(
                f"{self.token_file}: must be readable by its owner only (0600), got {mode:04o}: others may know "
                "the token; remove the file and start again"
            )
        return self.token_file.read_text(encoding="utf-8").strip()

    def socket(self) -> tuple[Path, Path | None]:
        """Where the broker's socket goes, and the private folder made for it where `home` is too deep."""
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
            raise LocalStackError(f"{self.home / 'laboratory.json'}: cannot be understood: {error}") from error

    def _sign(self) -> None:
        path = self.home / "laboratory.json"
        signed = {"id": secrets.token_hex(8), "format": FORMAT, "version": version("talweg")}
        # Two that come at once must agree on one id: the first to write it wins.
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
        FileExistsError: `exclusive`, and the file is there; also for a link that leads nowhere.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text)
        if exclusive:
            # Unlike rename, link never replaces: of two writers one wins, and nobody sees a half-written file.
            os.link(new, path)
        else:
            new.replace(path)
            return
    finally:
        new.unlink(missing_ok=True)


def open_log(path: Path) -> FileIO:
    """The log to append to, in a folder that is made where it is gone; raises OSError."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.exists() and path.stat().st_size > LARGEST:
        path.replace(path.with_suffix(".log.1"))
    return FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab")


def open_log_or_none(path: Path) -> FileIO:
    """The log, or the null device where it cannot be opened: a process without a log is better than none."""
    try:
        return open_log(path)
    except OSError:
        return FileIO(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), "wb")


def tail(path: Path, lines: int) -> list[str]:
    """The last lines, without reading a long file whole; none where there is no file."""
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
    """(name, line) as lines are written from now on, while `going` says so."""
    places = {name: path.stat().st_size if path.exists() else 0 for name, path in paths.items()}
    pending = dict.fromkeys(paths, b"")
    while True:
        more = going()
        for name, path in paths.items():
            fresh, places[name] = _since(path, places[name])
            *complete, pending[name] = (pending[name] + fresh).split(b"\n")
            for line in complete:
                yield name, line.decode("utf-8", "replace")
        if not more:
            return
        time.sleep(0.2)


def _since(path: Path, place: int) -> tuple[bytes, int]:
    try:
        # A shorter file is a new one: the old one was put aside.
        start = place if path.stat().st_size >= place else 0
        with path.open("rb") as file:
            file.seek(start)
            fresh = file.read()
    except OSError:
        return b"", 0
    return fresh, start + len(fresh)
