"""The API against its own document, with requests that nobody would write."""

import subprocess
import sys
from pathlib import Path

COMMAND = Path(__file__).parents[3] / "benchmarks" / "fuzz_api.py"


def test_16_no_answer_is_outside_of_the_document() -> None:
    done = subprocess.run(
        [sys.executable, str(COMMAND), "--requests", "360", "--seed", "0"], capture_output=True, text=True, timeout=250
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    counted = dict(line.strip().rsplit(": ", 1) for line in done.stdout.splitlines()[1:])
    # It did meet what it was to meet.
    assert {"admin 200", "admin 422", "read 403", "nobody 401"} <= counted.keys()
