"""Parsers of specs, chunks and uploads with random input, for one second; benchmarks/fuzz_parsers.py runs longer."""

import subprocess
import sys
from pathlib import Path

COMMAND = Path(__file__).parents[2] / "benchmarks" / "fuzz_parsers.py"


def test_random_input_is_refused_and_never_crashes() -> None:
    done = subprocess.run(
        [sys.executable, str(COMMAND), "--seconds", "1", "--seed", "0"], capture_output=True, text=True, timeout=250
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["specs:", "chunks:", "uploads:", "memory"]
