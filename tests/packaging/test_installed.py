"""The installed package outside the repository, without extras and with `lab`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import pytest

from talweg.local.folder import Folder
from talweg.local.processes import marked

if TYPE_CHECKING:
    from tests.packaging.conftest import Install, Installed

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements" / "lab.lock"

TRAIN = """
from talweg_core import Cohort, optimizers, problems

problem = problems.create("digits-mlp")
cohort = Cohort(problem, [optimizers.create("adam", learning_rate=0.001)], [0])
costs = [float(cohort.advance().costs[0]) for _ in range(200)]
print(costs[0], costs[-1], cohort.step)
"""
OPEN = """
from talweg import Lab
from talweg.errors import MissingExtra

try:
    Lab()
except MissingExtra as error:
    print(error)
"""


@pytest.fixture(scope="module")
def bare(install: "Install", wheel: Path) -> "Installed":
    """The wheel without extras, its dependencies as locked."""
    return install("bare", [wheel, "--constraint", LOCK])


@pytest.fixture(scope="module")
def full(install: "Install", wheel: Path) -> Iterator["Installed"]:
    """The wheel with the extra `lab`, as locked; its laboratory is stopped at the end."""
    made = install("full", [f"{wheel}[lab]", "--constraint", LOCK])
    yield made
    made.run("talweg", "down")


def test_without_extras_the_engine_trains_in_process(bare: "Installed") -> None:
    done = bare.run("python", "-c", TRAIN)
    assert done.returncode == 0, done.stderr
    first, last, step = done.stdout.split()
    assert float(last) < float(first) / 2
    assert step == "200"


def test_without_extras_the_example_of_a_problem_of_one_s_own_runs_in_15_lines(bare: "Installed") -> None:
    example = ROOT / "examples" / "engine.py"
    _, _, script = example.read_text().partition("\n\n")
    assert len([line for line in script.splitlines() if line]) <= 15
    done = bare.run("python", example)
    assert done.returncode == 0, done.stderr
    *_, slow, fast = done.stdout.splitlines()
    assert slow.startswith("learning rate 0.001: test cost")
    # The variance of the targets is 0.5.
    assert float(fast.rsplit(maxsplit=1)[-1]) < 0.25


def test_without_extras_nothing_of_the_laboratory_is_installed(bare: "Installed") -> None:
    done = bare.run("python", "-c", "import celery")
    assert "ModuleNotFoundError" in done.stderr


def test_without_extras_lab_says_which_one_to_install(bare: "Installed") -> None:
    done = bare.run("python", "-c", OPEN)
    assert done.returncode == 0, done.stderr
    assert "talweg[lab]" in done.stdout
    assert not (bare.work / ".talweg").exists()


def test_without_extras_the_command_says_so_too(bare: "Installed") -> None:
    done = bare.run("talweg", "up")
    assert done.returncode == 2
    assert "talweg[lab]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_with_the_lab_compare_runs_outside_the_repository(full: "Installed") -> None:
    arguments = ["two-layer-line", "sgd", "adam", "--seeds", "2", "--steps", "20", "--json"]
    done = full.run("talweg", "compare", *arguments, timeout=240)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 2
    assert (full.work / ".talweg").is_dir()


@pytest.mark.slow
def test_the_quickstart_runs_outside_the_repository(full: "Installed") -> None:
    done = full.run("python", ROOT / "examples" / "quickstart.py", timeout=240)
    assert done.returncode == 0, done.stderr
    assert "(64, 64)" in done.stdout


@pytest.mark.slow
def test_the_running_stack_listens_on_loopback_and_keeps_its_token_to_itself(full: "Installed") -> None:
    assert full.run("talweg", "up", timeout=240).returncode == 0
    folder = Folder.of(full.work / ".talweg")
    processes = marked(folder.marker)
    assert len(processes) > 4
    listening = [
        connection.laddr
        for process in processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert {address.ip for address in listening} == {"127.0.0.1"}
    # What others may do with a file or a socket of it: nothing.
    loose = [path for path in folder.home.rglob("*") if path.lstat().st_mode & 0o077]
    assert loose == []
    token = folder.token_file.read_text().strip()
    assert not [process for process in processes if token in " ".join(process.cmdline())]
