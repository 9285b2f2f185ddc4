"""`make` refuses an unsupported platform before it installs anything."""

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "requirements" / "supported.py"
GLIBC = ("glibc", "2.36")
obstacle: Any = runpy.run_path(str(SCRIPT))["obstacle"]


@pytest.mark.parametrize(
    ("system", "machine", "version", "libc", "said"),
    [
        ("Linux", "x86_64", (3, 11, 2), GLIBC, None),
        ("Linux", "aarch64", (3, 14, 0), ("glibc", "2.28"), None),
        ("Darwin", "arm64", (3, 12, 1), ("", ""), None),
        ("Windows", "AMD64", (3, 12, 1), ("", ""), "wsl --install"),
        ("Darwin", "x86_64", (3, 12, 1), ("", ""), "docker compose up"),
        ("FreeBSD", "amd64", (3, 12, 1), ("", ""), "not on FreeBSD"),
        ("Linux", "riscv64", (3, 12, 1), GLIBC, "not on riscv64"),
        ("Linux", "x86_64", (3, 12, 1), ("", ""), "not Alpine"),
        ("Linux", "x86_64", (3, 12, 1), ("glibc", "2.17"), "got 2.17"),
        ("Linux", "x86_64", (3, 10, 4), GLIBC, "got 3.10: make PYTHON="),
        ("Linux", "x86_64", (2, 7, 18), GLIBC, "got 2.7"),
    ],
)
def test_an_obstacle_is_named_with_the_remedy(
    system: str, machine: str, version: tuple[int, ...], libc: tuple[str, str], said: str | None
) -> None:
    found = obstacle(system, machine, version, libc)
    assert found is None if said is None else said in found


def test_make_checks_the_platform_first_and_stops_at_an_obstacle(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, SCRIPT], check=False).returncode == 0
    # A Python that finds itself on Windows; make must ask for nothing more.
    python = tmp_path / "python"
    python.write_text(
        f"#!{sys.executable}\nimport platform, runpy, sys\nplatform.system = lambda: 'Windows'\n"
        "runpy.run_path(sys.argv[1], run_name='__main__')\n"
    )
    python.chmod(0o755)
    command = ["make", "--no-print-directory", "install", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.startswith("Talweg runs on Linux and macOS. On Windows: wsl --install")
    assert not (tmp_path / "venv").exists()
