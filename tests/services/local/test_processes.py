"""Processes are recognised by pid and start, whatever the clock shows."""

import os

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import pytest

from talweg.local.processes import alive, birth


def test_a_process_is_recognised_after_the_clock_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    born = birth(os.getpid())
    assert born is not None
    boot = psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot + 89.0)
    assert alive(os.getpid(), born)
    assert not alive(os.getpid(), born + 1)
    assert not alive(2**22 + 1, born)
