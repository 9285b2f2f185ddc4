"""Time and memory of reading large uploads: `python benchmarks/uploads.py [--megabytes 1000]`.

Each table is written to a temporary file and read as the API reads it, in a parser process with its limits: a long CSV
of 20 columns of numbers, one of text and the target, and one of 10,000 columns. Memory is the parser's largest resident
set; its processor time says what a machine without other work takes.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from typing import IO

import numpy as np

from talweg.datasets.options import Options
from talweg.datasets.sources import Parsed, parse

WORDS = ("berlin", "bern", "oslo", "paris", "rome")
LIMITS = Options("csv", maximum=900_000_000, text_maximum=4_000_000_000)


def write_long(file: IO[bytes], size: int) -> None:
    """About `size` bytes: blocks of the same 20,000 rows."""
    rows = np.random.default_rng(0).normal(size=(20_000, 20)).tolist()
    lines = (f"{','.join(map(repr, row))},{WORDS[i % 5]},{i % 2}\n" for i, row in enumerate(rows))
    block = "".join(lines).encode()
    file.write(",".join([*(f"x{i}" for i in range(20)), "city", "y"]).encode() + b"\n")
    for _ in range(size // len(block)):
        file.write(block)


def write_wide(file: IO[bytes], rows: int) -> None:
    """Rows of 9,999 numbers and a class."""
    file.write(",".join([*(f"x{i}" for i in range(9_999)), "y"]).encode() + b"\n")
    for i, row in enumerate(np.random.default_rng(0).normal(size=(rows, 9_999))):
        file.write((",".join(f"{value:.4g}" for value in row) + f",{i % 3}\n").encode())


def measured(file: IO[bytes]) -> Iterator[str]:
    """Seconds, processor seconds, megabytes of memory, and what came out."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    made: Parsed = parse(file, LIMITS, 600.0)
    yield f"{time.perf_counter() - began:.1f}"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    yield f"{after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime:.1f}"
    # The largest of all children so far, so the longest table comes last.
    yield f"{after.ru_maxrss / 1000:,.0f}"
    rows, inputs = made.shape["inputs"]
    yield f"{rows:,} × {inputs:,}"


def main() -> None:
    """Write, read and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1000, help="Of the long table.")
    parser.add_argument("--rows", type=int, default=500, help="Of the wide table.")
    options = parser.parse_args()
    print("| table | MB | s | processor s | memory, MB | rows × inputs |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, write, size in (
        ("10,000 columns", write_wide, options.rows),
        ("20 numbers, a text, a class", write_long, options.megabytes * 1_000_000),
    ):
        with tempfile.TemporaryFile() as file:
            write(file, size)
            megabytes = file.tell() / 1e6
            print(f"| {name} | {megabytes:,.0f} | {' | '.join(measured(file))} |", flush=True)


if __name__ == "__main__":
    main()
