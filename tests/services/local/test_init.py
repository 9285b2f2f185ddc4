"""The local stack on an unsupported platform."""

import pytest

from talweg import local
from talweg.errors import LocalStackError


def test_on_windows_it_says_what_to_do_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(LocalStackError, match=r"on Windows use WSL .* or set TALWEG_URL"):
        local.ensure()
