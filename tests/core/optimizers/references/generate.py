"""Trajectories of PyTorch and optax, float64, for tests/core/optimizers/test_catalogue_references.py.

Run once in an environment of its own, `pip install torch==2.13.0 optax==0.2.8`, then
`python generate.py`; it writes cases.json, schedules.json and trajectories.npz beside itself. Neither library is a
dependency of the project, and nothing of the project is imported here.

Each case: our name and settings, and how the library says the same. Two problems: Rosenbrock from (−0.5, 1.5), and
`matrix`, C = mean (x W + b − y)² with W (5, 3) and b (3). A trajectory is θ_0 … θ_50 as flat vectors (W row by row,
then b); where a method is judged at another point than it moves, `<case>/evaluation` holds those. Beside them the
libraries' default hyperparameters, under our names, and their schedules' factors at the first steps.
"""

import json
import sys
from pathlib import Path

import jax
import library_rules  # noqa: F401  adds its cases
import library_wrappers  # noqa: F401  adds its cases
import numpy as np
import optax
import torch
from library_defaults import defaults
from library_runs import CASES, DATA, STEPS
from library_schedules import schedules

HERE = Path(__file__).parent


def write(name, value):
    """Write JSON next to this file, with one line for each entry of `cases` and `defaults`."""
    lines = []
    for key, held in value.items():
        if isinstance(held, list):
            inner = ",\n".join(f"  {json.dumps(one)}" for one in held)
            held = f"[\n{inner}\n ]"
        elif key == "defaults":
            inner = ",\n".join(f"  {json.dumps(name)}: {json.dumps(one)}" for name, one in held.items())
            held = f"{{\n{inner}\n }}"
        else:
            held = json.dumps(held)
        lines.append(f" {json.dumps(key)}: {held}")
    (HERE / name).write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main():
    """Write all three files."""
    facts, arrays = [], {}
    for number, (name, settings, run, said, problems) in enumerate(CASES):
        key = f"{number:02d}-{name}"
        for problem in problems:
            points, judged = run(problem)
            assert np.isfinite(points).all(), (key, problem)
            arrays[f"{key}/{problem}"] = points
            if judged is not None:
                arrays[f"{key}/{problem}/evaluation"] = judged
        facts.append(
            {"key": key, "optimizer": name, "settings": settings, "reference": said, "problems": list(problems)}
        )
    versions = {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "optax": optax.__version__,
        "jax": jax.__version__,
        "numpy": np.__version__,
    }
    write("cases.json", {"versions": versions, "steps": STEPS, "cases": facts, "defaults": defaults()})
    write("schedules.json", {"versions": versions, "cases": schedules()})
    np.savez_compressed(HERE / "trajectories.npz", **{f"data/{k}": v for k, v in DATA.items()}, **arrays)


if __name__ == "__main__":
    main()
