"""Kernels are cached on disk, and compiled again when their rule changes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from talweg_core import compilation

RULE = """
from talweg_core.compilation import specialise


def rule(x):
    return x {operation}



def template(values):
    for i in range(values.size):
        values[i] = rule(values[i])


kernel = specialise(template, rule=rule)
"""

MAIN = """
import numpy as np
import module
x = np.array([3.0])
module.kernel(x)
print(x[0], sum(module.kernel.stats.cache_hits.values()))
"""


@pytest.fixture
def run(tmp_path: Path) -> "Runner":
    """Runs MAIN in a fresh interpreter, next to a module that contains RULE."""
    return Runner(tmp_path)


class Runner:
    """A folder that contains the module."""

    def __init__(self, folder: Path) -> None:
        """Run in `folder`."""
        self.folder = folder

    def __call__(self, operation: str, before: str = "") -> list[str]:
        """The output of MAIN, after the lines of `before`."""
        (self.folder / "module.py").write_text(RULE.format(operation=operation))
        command = [sys.executable, "-c", before + MAIN]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout.split()


def test_a_specialised_kernel_is_cached_between_processes(run: Runner) -> None:
    assert run("+ 1") == ["4.0", "0"]
    assert run("+ 1") == ["4.0", "1"]


def test_a_changed_rule_is_compiled_anew(run: Runner) -> None:
    assert run("+ 1")[0] == "4.0"
    assert run("* 25")[0] == "75.0"


def test_what_another_version_of_the_engine_compiled_is_compiled_anew(run: Runner) -> None:
    # A regression: a cached kernel contained a function of a file that the engine no longer has.
    assert run("+ 1") == ["4.0", "0"]
    assert run("+ 1", "from talweg_core import compilation\ncompilation.engine_digest = lambda: 'other'") == [
        "4.0",
        "0",
    ]
    assert run("+ 1", "from talweg_core import compilation\ncompilation.engine_digest = lambda: 'other'") == [
        "4.0",
        "1",
    ]


def test_the_digest_is_of_every_file_of_the_engine(tmp_path: Path) -> None:
    def digest() -> str:
        script = "from talweg_core.compilation import engine_digest; print(engine_digest())"
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-c", script]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    shutil.copytree(Path(compilation.__file__).parent, tmp_path / "talweg_core")
    before = digest()
    assert digest() == before
    file = tmp_path / "talweg_core" / "problems" / "beale.py"
    file.write_text(file.read_text() + "# Changed.\n")
    assert digest() != before


def test_a_rule_typed_at_a_prompt_is_compiled_without_a_cache() -> None:
    script = f"{RULE.format(operation='+ 1')}\nimport numpy as np\nx = np.array([3.0])\nkernel(x)\nprint(x[0])"
    done = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["4.0"]


def test_without_a_folder_to_cache_kernels_the_engine_works(tmp_path: Path) -> None:
    # A file at the folder's path: nothing can be written below it, not even by root.
    taken = tmp_path / "taken"
    taken.write_text("")
    script = "from talweg_core.compilation import kernel\nprint(kernel(lambda x: x + 1)(2))"
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(taken), "XDG_CACHE_HOME": str(taken)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == ["3"]


def test_processes_that_lack_a_kernel_at_once_compile_it_once(run: Runner) -> None:
    (run.folder / "module.py").write_text(RULE.format(operation="* 2"))
    together = f"""
import os, pathlib, time
import numpy as np
import module
pathlib.Path(f"ready-{{os.getpid()}}").touch()
while len(list(pathlib.Path().glob("ready-*"))) < {(count := 4)}:
    time.sleep(0.001)
x = np.array([3.0])
module.kernel(x)
print(x[0], sum(module.kernel.stats.cache_hits.values()))
"""
    command = [sys.executable, "-c", together]
    processes = [subprocess.Popen(command, cwd=run.folder, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    said = sorted(process.communicate()[0].split() for process in processes)
    assert said == [["6.0", "0"], *([["6.0", "1"]] * (count - 1))]
    assert not list(run.folder.rglob("*.lock"))


def test_a_kernel_that_cannot_be_compiled_blocks_no_other_process(run: Runner) -> None:
    for _ in range(2):
        with pytest.raises(subprocess.CalledProcessError):
            run("+ 'text'")
    assert not list(run.folder.rglob("*.lock"))
    assert run("* 2")[0] == "6.0"
