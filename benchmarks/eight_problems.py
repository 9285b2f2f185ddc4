"""The study of examples/eight_problems.yaml on a laboratory of its own: wall time, ranking, verdict and report.

    python benchmarks/eight_problems.py [--workers 2] [--report report.html]

1,280 runs, 272,000 steps. The time is from the submission to the last run's end, with everything recorded; the local
stack's start and the report come apart.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from talweg import Lab
from talweg.spec import read_spec

SPEC = Path(__file__).parents[1] / "examples" / "eight_problems.yaml"


def main() -> None:
    """Run it and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--report", type=Path, default=Path("eight-problems.html"))
    asked = parser.parse_args()
    os.environ["TALWEG_WORKERS"] = str(asked.workers)
    with tempfile.TemporaryDirectory(prefix="talweg-eight-") as home:
        began = time.monotonic()
        with Lab(home=home) as lab:
            ready = time.monotonic()
            study = lab.compare(read_spec(SPEC))
            study.wait()
            done = time.monotonic()
            study.report(asked.report)
            reported = time.monotonic()
            print(study.ranking(), "\n")
            print(study.standings(), "\n")
            print(study.verdict, "\n")
            for guard in study.guards():
                print(f"{guard['level']}: {guard['text']}")
            print(f"\nstart {ready - began:.1f} s, study {done - ready:.1f} s with {asked.workers} workers")
            print(f"report {reported - done:.1f} s, {asked.report.stat().st_size / 1e6:.2f} MB")
        # The folder goes, and the stack ends with it.


if __name__ == "__main__":
    main()
