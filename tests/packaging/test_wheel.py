"""The wheel holds the two packages and the migrations, whole, and nothing else."""

from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
PLACES = {"core/talweg_core": "talweg_core", "services/talweg": "talweg", "migrations": "talweg/migrations"}


@pytest.fixture(scope="module")
def members(wheel: Path) -> set[str]:
    """Names of the wheel's files."""
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_holds_exactly_the_two_packages(members: set[str]) -> None:
    tops = {name.partition("/")[0] for name in members}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"talweg", "talweg_core"}


@pytest.mark.parametrize(("source", "target"), PLACES.items())
def test_the_wheel_holds_every_source_file(members: set[str], source: str, target: str) -> None:
    # What .gitignore names is left out by the builder too: a package called demo would go missing here.
    files = (path for path in (ROOT / source).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    expected = {f"{target}/{path.relative_to(ROOT / source).as_posix()}" for path in files}
    assert expected
    assert expected <= members


def test_the_wheel_holds_source_files_only(members: set[str]) -> None:
    homes = {target: ROOT / source for source, target in PLACES.items()}
    for name in members:
        home = max((target for target in homes if name.startswith(f"{target}/")), key=len, default=None)
        if home is not None:
            assert (homes[home] / name.removeprefix(f"{home}/")).is_file(), name


def test_metadata_names_extras_licence_and_command(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        info = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA")).rpartition("/")[0]
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        commands = archive.read(f"{info}/entry_points.txt").decode()
        licence = archive.read(f"{info}/licenses/LICENSE").decode()
    assert {"lab", "dev"} <= set(metadata.get_all("Provides-Extra", []))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "Apache License" in licence
    assert "talweg = talweg.cli:main" in commands
