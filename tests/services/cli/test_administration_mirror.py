"""`talweg mirror --to URL`."""

from collections.abc import Callable
from typing import Any

import pytest

Talweg = Callable[..., Any]


def test_mirror_needs_a_target(talweg: Talweg) -> None:
    done = talweg("mirror")
    assert done.status == 2
    assert "--to URL, to send all to another server" in done.err


def test_mirror_reads_the_folders_database(talweg: Talweg) -> None:
    assert talweg("migrate", "--home", "lab").status == 0
    # There is nothing to send, so no server has to listen.
    done = talweg("mirror", "--to", "http://127.0.0.1:9", "--home", "lab")
    assert (done.status, done.err) == (0, "Next: open http://127.0.0.1:9 in a browser\n")


def test_mirror_names_the_database_setting_that_it_needs(talweg: Talweg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALWEG_URL", "http://127.0.0.1:9")
    done = talweg("mirror", "--to", "http://127.0.0.1:9")
    assert done.status == 2
    assert "TALWEG_DATABASE_URL must name it" in done.err
