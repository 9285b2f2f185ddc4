"""The wheel, and virtual environments outside the repository."""

import os
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Installed:
    """An environment of its own and an empty folder to work in, both outside the repository."""

    folder: Path
    work: Path

    @property
    def environment(self) -> dict[str, str]:
        """This process's variables without what would lead back to the repository or to another laboratory."""
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "TALWEG_", "VIRTUAL_ENV"))
        }
        return kept | {"PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}

    def run(self, *command: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command of this environment in its folder; its output as text."""
        program = self.folder / "bin" / command[0]
        return subprocess.run(
            [program, *command[1:]],
            cwd=self.work,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            check=False,
        )


Install = Callable[[str, Sequence[str | Path]], Installed]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the sources as they are now."""
    folder = tmp_path_factory.mktemp("dist")
    build: list[str | Path] = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def install(tmp_path_factory: pytest.TempPathFactory) -> Install:
    """Makes an environment by that name that holds what the arguments of `uv pip install` name."""

    def make(name: str, requirements: Sequence[str | Path]) -> Installed:
        base = tmp_path_factory.mktemp(name)
        made = Installed(base / "environment", base / "work")
        made.work.mkdir()
        venv.create(made.folder, symlinks=True)
        _pip(made.folder / "bin" / "python", requirements)
        return made

    return make


def _pip(python: Path, requirements: Sequence[str | Path]) -> None:
    """Install with uv, out of its cache where it can; with pip on a machine that configured pip alone."""
    uv: list[str | Path] = [Path(sys.executable).parent / "uv", "pip", "install", "--quiet", "--python", python]
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    for command in ([*uv, "--offline"], uv, pip):
        done = subprocess.run([*command, *requirements], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
    pytest.fail(f"cannot install {' '.join(map(str, requirements))}:\n{done.stderr}")
