"""The laboratory's folder: permissions, format, token, socket, locks and logs."""

import json
import os
import secrets
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from talweg.errors import LocalStackError, NewerLaboratory, NotWritable
from talweg.local.folder import (
    LARGEST,
    SOCKET_LIMIT,
    Folder,
    acquire_lock,
    exclusive_lock,
    follow,
    is_held,
    open_log,
    tail,
    write_private,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_is_private_and_ignores_itself_in_git(folder: Folder) -> None:
    assert mode(folder.home) == 0o700
    assert {mode(path) for path in (folder.logs, folder.broker, folder.mlflow)} == {0o700}
    assert (folder.home / ".gitignore").read_text() == "*\n"


def test_a_looser_folder_is_made_private(tmp_path: Path) -> None:
    (tmp_path / ".talweg").mkdir(mode=0o755)
    Folder.of(tmp_path / ".talweg").prepare()
    assert mode(tmp_path / ".talweg") == 0o700


def test_paths_are_absolute_and_one_laboratory_has_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert Folder.of(Path(".talweg")) == Folder.of(tmp_path / "link" / ".talweg")


def test_a_file_in_its_place_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / ".talweg").write_text("")
    with pytest.raises(NotWritable, match=r"\.talweg: cannot be written: File exists"):
        Folder.of(tmp_path / ".talweg").prepare()


def test_a_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritable, match="Not a directory"):
        Folder.of(tmp_path / "file" / ".talweg").prepare()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that nobody can write: /proc")
def test_a_folder_that_even_root_cannot_write_is_refused() -> None:
    with pytest.raises(NotWritable, match="cannot be written"):
        Folder.of(Path("/proc/.talweg")).prepare()


def test_a_question_mark_is_refused_before_sqlite_cuts_the_path(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match=r"must not contain '\?'"):
        Folder.of(tmp_path / "what?").prepare()


def test_a_newer_laboratory_is_refused_and_left_as_it_is(folder: Folder) -> None:
    label = folder.home / "laboratory.json"
    newer = json.dumps({"id": "0", "format": 99, "version": "9.0.0"})
    label.write_text(newer)
    with pytest.raises(NewerLaboratory, match=r"written by Talweg 9\.0\.0 \(format 99\)"):
        folder.prepare()
    assert label.read_text() == newer


def test_an_unreadable_label_is_named(folder: Folder) -> None:
    (folder.home / "laboratory.json").write_text("[]")
    with pytest.raises(LocalStackError, match=r"laboratory\.json: cannot be parsed"):
        folder.prepare()


def test_an_older_label_is_brought_up_to_date_and_keeps_its_id(folder: Folder) -> None:
    label = folder.home / "laboratory.json"
    label.write_text(json.dumps(json.loads(label.read_text()) | {"version": "0.0.1"}))
    before = folder.marker
    folder.prepare()
    assert json.loads(label.read_text())["version"] != "0.0.1"
    assert Folder.of(folder.home).marker == before


def test_many_at_once_agree_on_one_id_and_one_token(tmp_path: Path) -> None:
    def prepared(_: int) -> tuple[str, str]:
        folder = Folder.of(tmp_path / ".talweg")
        folder.prepare()
        return folder.marker, folder.token()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(prepared, range(32)))) == 1


def test_a_second_writer_gets_the_token_of_the_first(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    first: list[str] = []
    made = secrets.token_urlsafe

    def meanwhile(size: int) -> str:
        # Between the look and the writing, somebody else does both.
        monkeypatch.setattr(secrets, "token_urlsafe", made)
        first.append(Folder.of(folder.home).token())
        return made(size)

    monkeypatch.setattr(secrets, "token_urlsafe", meanwhile)
    assert [folder.token()] == first
    assert [folder.token()] == first


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_the_token_is_long_private_and_stays_under_any_umask(folder: Folder, umask: int) -> None:
    before = os.umask(umask)
    try:
        token = folder.token()
    finally:
        os.umask(before)
    assert mode(folder.token_file) == 0o600
    assert len(token) >= 40
    assert folder.token() == token


@pytest.mark.parametrize("loose", [0o640, 0o604, 0o620])
def test_a_token_that_others_may_know_is_refused(folder: Folder, loose: int) -> None:
    folder.token()
    folder.token_file.chmod(loose)
    with pytest.raises(LocalStackError, match=f"owner only \\(0600\\), got 0{loose:o}"):
        folder.token()


def test_a_token_that_is_a_link_is_refused(folder: Folder, tmp_path: Path) -> None:
    write_private(tmp_path / "elsewhere", "a token that somebody else knows")
    folder.token_file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LocalStackError, match="must be a regular file owned by you"):
        folder.token()


@pytest.mark.parametrize("name", ["deep" * 30, "with space", "per%cent"])
def test_a_socket_path_that_does_not_fit_moves_to_a_private_folder(tmp_path: Path, name: str) -> None:
    folder = Folder.of(tmp_path / name / ".talweg")
    socket, scratch = folder.socket()
    assert scratch is not None
    assert socket.parent == scratch
    assert mode(scratch) == 0o700
    assert len(os.fsencode(socket)) <= SOCKET_LIMIT
    scratch.rmdir()


def test_a_long_temporary_folder_is_replaced_by_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("long" * 30)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    socket, scratch = Folder.of(tmp_path / ("deep" * 30)).socket()
    assert scratch is not None
    assert len(os.fsencode(socket)) <= SOCKET_LIMIT
    assert list(long.iterdir()) == []
    scratch.rmdir()


def test_a_short_path_keeps_its_socket_at_home() -> None:
    socket, scratch = Folder(Path("/srv/lab/.talweg")).socket()
    assert (socket, scratch) == (Path("/srv/lab/.talweg/broker.sock"), None)


def test_a_private_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_private(path, "first")
    write_private(path, "second")
    with pytest.raises(FileExistsError):
        write_private(path, "third", exclusive=True)
    assert path.read_text() == "second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]
    assert mode(path) == 0o600


def test_a_lock_is_held_by_one_and_released_with_its_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    descriptor = acquire_lock(path, text="me")
    assert descriptor is not None
    assert acquire_lock(path) is None
    assert is_held(path)
    assert path.read_text() == "me"
    os.close(descriptor)
    assert not is_held(path)


def test_a_lock_that_stays_taken_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        exclusive_lock(path, timeout=1),
        pytest.raises(LocalStackError, match=f"process {os.getpid()} has been starting or stopping"),
        exclusive_lock(path, timeout=0.1),
    ):
        pass


def test_a_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    assert tail(path, 3) == []
    path.write_bytes(b"".join(b"line %d\n" % number for number in range(100_000)) + b"\xff end")
    assert tail(path, 2) == ["line 99999", "� end"]
    assert tail(path, 0) == []


def test_a_long_log_is_renamed(tmp_path: Path) -> None:
    path = tmp_path / "api.log"
    path.write_bytes(b"\n" * (LARGEST + 1))
    with open_log(path) as log:
        log.write(b"fresh\n")
    assert path.read_bytes() == b"fresh\n"
    assert (tmp_path / "api.log.1").stat().st_size == LARGEST + 1
    assert path.stat().st_mode & 0o077 == 0


def test_following_gives_whole_lines_of_every_log_from_now_on(tmp_path: Path) -> None:
    paths = {"api": tmp_path / "api.log", "worker-1": tmp_path / "worker-1.log"}
    paths["api"].write_text("before\n")
    turns = iter([True, True, False])

    def going() -> bool:
        with paths["api"].open("a") as log:
            log.write("half a ")
        more = next(turns)
        if not more:
            paths["worker-1"].write_text("hello\n")
            with paths["api"].open("a") as log:
                log.write("line\n")
        return more

    assert list(follow(paths, going=going)) == [("api", "half a half a half a line"), ("worker-1", "hello")]
