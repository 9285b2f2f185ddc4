"""Every per-coordinate rule on 10⁶ float32 coordinates, compared with Adam, its memory traffic and PyTorch's Adam.

    python benchmarks/optimizers.py [--torch-python PATH] [--size N] [--repeats N]

Times are the minimum over repeats; the rules alternate, so that a noisy machine slows all alike. Compare ratios of one
run. The lower bound of a rule is a copy of as many bytes as it reads and writes: parameters and each state read and
written, the gradient read. `--torch-python` is an interpreter with PyTorch, which the project does not need.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from talweg_core import optimizers
from talweg_core.layout import Layout
from talweg_core.optimizers import Hyperparameters, Optimizer, Situation

TORCH = """
import sys, time, torch
torch.set_num_threads(1)
size, repeats = int(sys.argv[1]), int(sys.argv[2])
p = torch.randn(size, requires_grad=True)
p.grad = torch.randn(size)
for fused in (True, False):
    rule = torch.optim.Adam([p], lr=1e-3, fused=fused, foreach=None if fused else True)
    for _ in range(5): rule.step()
    times = []
    for _ in range(repeats):
        start = time.perf_counter(); rule.step(); times.append(time.perf_counter() - start)
    print(min(times))
"""


def rule_step(made: Optimizer, size: int) -> Callable[[], None]:
    """One update of one run of `size` float32 coordinates."""
    draws = np.random.default_rng(0)
    parameters = draws.normal(size=(1, size)).astype(np.float32)
    gradient = draws.normal(size=(1, size)).astype(np.float32)
    bound = made.bind([made], Layout.of({"x": (size,)}), parameters.dtype)
    situation = Situation(
        parameters, np.zeros(1), gradient, np.zeros(1), Hyperparameters([made]), np.ones(1, np.bool_),
        None,  # type: ignore[arg-type]  # these rules ask for no evaluation
    )  # fmt: skip

    def step() -> None:
        bound.update(situation)
        situation.updates = situation.updates + 1

    return step


def copy_bytes(count: int) -> Callable[[], None]:
    """Read and write `count` bytes in all."""
    source = np.ones(count // 8, np.float32)
    target = np.empty_like(source)

    def step() -> None:
        np.copyto(target, source)

    return step


def measure(steps: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """The minimum time of each, alternating."""
    least = dict.fromkeys(steps, float("inf"))
    for repeat in range(repeats + 5):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            took = time.perf_counter() - start
            # The first five compile and warm caches.
            if repeat >= 5:
                least[name] = min(least[name], took)
    return least


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=60)
    options = parser.parse_args()

    kinds = {name: kind for name, kind in optimizers.catalogue().items() if kind.needs == "coordinates"}
    steps = {name: rule_step(kind(), options.size) for name, kind in kinds.items()}
    streams = {name: 2 * len(kind.state) + 3 for name, kind in kinds.items()}
    centred = optimizers.create("rmsprop", centred=True)
    steps["rmsprop centred"], streams["rmsprop centred"] = rule_step(centred, options.size), 9
    copies = {f"copy {n}": copy_bytes(4 * n * options.size) for n in set(streams.values())}
    found = measure(steps | copies, options.repeats)

    adam = found["adam"]
    print(f"{options.size:,} float32 coordinates, one thread, minimum of {options.repeats}")
    print(f"{'rule':24}{'ms':>8}{'× adam':>9}{'× its traffic as a copy':>26}")
    for name in sorted(steps, key=found.__getitem__):
        copied = found[f"copy {streams[name]}"]
        print(f"{name:24}{found[name] * 1e3:8.3f}{found[name] / adam:9.2f}{found[name] / copied:26.2f}")
    slowest, traffic = max(steps, key=found.__getitem__), found[f"copy {streams['adam']}"]
    print(f"largest: {slowest} at {found[slowest] / adam:.2f} × adam (limit 1.5)")
    print(f"adam: {adam / traffic:.2f} × its traffic as a copy (limit 1.3)")
    torch = subprocess.run(
        [options.torch_python, "-c", TORCH, str(options.size), str(options.repeats)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if torch.returncode:
        print("PyTorch: not installed there; name an interpreter that has it with --torch-python")
        return
    # Measured again: closer in time to PyTorch's.
    again = measure({"adam": steps["adam"]}, options.repeats)["adam"]
    for name, took in zip(("fused", "foreach"), map(float, torch.stdout.split()), strict=True):
        print(f"{'PyTorch Adam ' + name:24}{took * 1e3:8.3f}{took / again:9.2f}   (ours then {again * 1e3:.3f} ms)")


if __name__ == "__main__":
    main()
