"""Short forms of benchmarks/reliability.py, on both databases, and benchmarks/local_stack.py; seeded."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def run(name: str, *arguments: str) -> str:
    """The output of the benchmark, which must find no error."""
    command = [sys.executable, str(BENCHMARKS / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("database", "kinds"), [("sqlite", 12), ("postgresql", 14)])
def test_a_study_under_a_fault_of_every_kind_loses_repeats_and_changes_nothing(database: str, kinds: int) -> None:
    output = run("reliability.py", "--database", database, "--cohorts", "10", "--faults", str(kinds), "--seed", "3")
    assert f"{kinds} faults over 10 cohorts" in output
    # Each kind occurs once before any occurs again.
    assert len(re.findall(r"^ +1  [A-Za-z]+: ", output, re.MULTILINE)) == kinds
    assert "0 lost, 0 steps missing" in output
    assert "0 repeated, 0 differing; 0 processes left behind" in output
    assert "0 runs differ from SQL there" in output
    assert "0 leases and 0 locks left; 0 submissions unanswered" in output


def test_a_local_stack_whose_processes_are_killed_restarts_and_finishes_with_the_same_bits() -> None:
    output = run("local_stack.py", "--times", "2", "--steps", "100", "--no-mlflow", "--seed", "1")
    assert "0 lost, 0 steps missing" in output
    assert "0 repeated, 0 differing; 0 processes left" in output
