"""Remove each security guard in turn and check that its test fails: `python benchmarks/guards.py [LINE …]`.

tests/security/guards.toml lists each guard's text, and the test that must fail without it. This works in a copy of the
repository, with an interpreter that imports the copy, also in processes that tests start. First all tests must pass
there; then each runs with its guard removed. Prints one line for each guard; the exit status is 1 where a test does not
fail. Takes about a quarter of an hour.
"""

import argparse
import os
import shutil
import site
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
GUARDS = ROOT / "tests" / "security" / "guards.toml"
# A test that hangs without its guard counts as failed.
SECONDS = 240


@dataclass(frozen=True)
class Guard:
    """One removal (`old` becomes `new` in `file`), and the test that must fail; `line` is that of the security list."""

    line: int
    file: str
    old: str
    new: str
    test: str


def read() -> list[Guard]:
    """Every guard, in the order of the list."""
    return [Guard(**one) for one in tomllib.loads(GUARDS.read_text(encoding="utf-8"))["guard"]]


def copy(target: Path) -> None:
    """Copy the files that git tracks or does not ignore, and the compiled kernels."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - git, as the user has it
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    compiled = [str(path.relative_to(ROOT)) for path in (ROOT / "core").rglob("__pycache__/*.nb?")]
    for name in [*names, *compiled]:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        # With modification times: Numba compares them to decide whether a kernel is current.
        shutil.copy2(ROOT / name, target / name)


def interpreter(target: Path) -> Path:
    """An interpreter that imports the copy's packages before this environment's."""
    venv.create(target / "environment", symlinks=True)
    python = target / "environment" / "bin" / "python"
    (found,) = (target / "environment").glob("lib/python*/site-packages")
    here = next(path for path in site.getsitepackages() if path.endswith("site-packages"))
    lines = [str(target / "core"), str(target / "services"), f"import site; site.addsitedir({here!r})"]
    (found / "copy.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return python


@contextmanager
def without(guard: Guard, folder: Path) -> Iterator[None]:
    """Remove the guard in the copy for the block."""
    path = folder / guard.file
    whole = path.read_text(encoding="utf-8")
    if guard.old not in whole:
        raise SystemExit(f"{guard.file}: must contain the guard of line {guard.line}: {guard.old}")
    path.write_text(whole.replace(guard.old, guard.new), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(whole, encoding="utf-8")


def run_tests(python: Path, folder: Path, *tests: str) -> tuple[bool, str]:
    """Whether the tests passed, and the first failure's message, or `broken` with the output where they did not run."""
    # No bytecode: a source of the same second and size would look unchanged.
    options = ["-q", "-x", "-p", "no:cacheprovider", "--timeout", str(SECONDS)]
    done = subprocess.run(
        [python, "-m", "pytest", *options, *tests],
        cwd=folder, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    if done.returncode and not failed and "Timeout" not in done.stdout + done.stderr:
        return False, f"broken:\n{done.stdout[-3000:]}{done.stderr[-1000:]}"
    return not done.returncode, failed[0].partition(" - ")[2][:80] if failed else ""


def main() -> int:
    """Test the guards and print the results; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lines", nargs="*", type=int, help="only the guards of these lines")
    options = parser.parse_args()
    guards = [guard for guard in read() if not options.lines or guard.line in options.lines]
    weak = 0
    with tempfile.TemporaryDirectory(prefix="talweg-guards-") as name:
        folder = Path(name).resolve()
        copy(folder)
        python = interpreter(folder)
        passed, outcome = run_tests(python, folder, *dict.fromkeys(guard.test for guard in guards))
        if not passed:
            print(f"the tests must pass before a guard is removed: {outcome}")
            return 1
        for guard in guards:
            began = time.monotonic()
            with without(guard, folder):
                passed, outcome = run_tests(python, folder, guard.test)
            broken = outcome.startswith("broken")
            weak += passed or broken
            word = "PASSES" if passed else "BROKEN" if broken else "fails"
            test = guard.test.rpartition("::")[2]
            print(
                f"{guard.line:3} {word:7} {time.monotonic() - began:5.1f} s  {guard.file}: {test}  {outcome}",
                flush=True,
            )
    seen = {guard.line for guard in guards}
    print(f"{len(guards)} guards of {len(seen)} lines removed; {weak} without a failing test")
    return 1 if weak else 0


if __name__ == "__main__":
    sys.exit(main())
