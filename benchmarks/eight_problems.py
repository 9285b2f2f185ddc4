"""The study of examples/eight_problems.yaml on a local stack: wall time, ranking, verdict and report.

    python benchmarks/eight_problems.py [--workers 2] [--report report.html]

1,280 runs, 272,000 steps. The time of the study is from its submission to the end of the last run, with everything
recorded; the start of the stack and the report are timed separately.
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
    """Run the study and print its results and times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--report", type=Path, default=Path("eight-problems.html"))
    options = parser.parse_args()
    os.environ["TALWEG_WORKERS"] = str(options.workers)
    with tempfile.TemporaryDirectory(prefix="talweg-eight-") as home:
        began = time.monotonic()
        with Lab(home=home) as lab:
            ready = time.monotonic()
            study = lab.compare(read_spec(SPEC))
            study.wait()
            done = time.monotonic()
            study.report(options.report)
            reported = time.monotonic()
            print(study.ranking(), "\n")
            print(study.standings(), "\n")
            print(study.verdict, "\n")
            for guard in study.guards():
                print(f"{guard['level']}: {guard['text']}")
            print(f"\nstart {ready - began:.1f} s, study {done - ready:.1f} s with {options.workers} workers")
            print(f"report {reported - done:.1f} s, {options.report.stat().st_size / 1e6:.2f} MB")
        # The stack ends when its folder is removed.


if __name__ == "__main__":
    main()
