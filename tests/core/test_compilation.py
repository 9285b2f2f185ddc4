"""Kernels: cached on disk, and anew when their rule changes."""

import subprocess
import sys
from pathlib import Path

import pytest

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
    """Runs MAIN in a fresh interpreter beside a module that holds RULE."""
    return Runner(tmp_path)


class Runner:
    """A folder with a module in it."""

    def __init__(self, folder: Path) -> None:
        """In `folder`."""
        self.folder = folder

    def __call__(self, operation: str) -> list[str]:
        """What MAIN prints."""
        (self.folder / "module.py").write_text(RULE.format(operation=operation))
        command = [sys.executable, "-c", MAIN]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout.split()


def test_a_specialised_kernel_is_cached_between_processes(run: Runner) -> None:
    assert run("+ 1") == ["4.0", "0"]
    assert run("+ 1") == ["4.0", "1"]


def test_a_changed_rule_is_compiled_anew(run: Runner) -> None:
    assert run("+ 1")[0] == "4.0"
    assert run("* 25")[0] == "75.0"
