"""Numbers of rliable, opda and AlgoPerf's scoring, for tests/services/comparison/test_references.py.

Run once in an environment of its own: `pip install rliable==1.2.0 opda==0.8.0 pandas tabulate absl-py`, a checkout of
AlgoPerf (github.com/mlcommons/algorithmic-efficiency, commit 2c90454) and `python generate.py CHECKOUT`; it writes
numbers.json beside itself. None of them is a dependency of the project, and nothing of the project is imported here.
"""

import json
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import pandas as pd
from opda.nonparametric import EmpiricalDistribution
from rliable import metrics

WORKLOADS = [f"w{i}" for i in range(8)]
POINTS = 3001


def algoperf(checkout: str, times: np.ndarray) -> list[float]:
    """The leaderboard scores of AlgoPerf for median times (S, 8), an infinite one for a target that was missed.

    Its registry of workloads imports JAX and PyTorch: here are eight of ours in its place, each with target 0.
    """
    registry = types.ModuleType("algoperf.workloads.workloads")
    registry.WORKLOADS = {name: {} for name in WORKLOADS}
    registry.BASE_WORKLOADS = WORKLOADS
    registry.get_base_workload_name = lambda name: name
    for name in ("algoperf", "algoperf.workloads"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["algoperf.workloads.workloads"] = registry
    sys.modules["algoperf.workloads"].workloads = registry
    sys.path.insert(0, checkout)
    # Its name before NumPy 2.
    np.trapz = np.trapezoid  # noqa: NPY201
    from scoring import performance_profile as scoring

    scoring.scoring_utils.get_workload_metrics_and_targets = lambda _: ("validation/loss", 0.0)
    submissions = {}
    for position, row in enumerate(times):
        rows = []
        for workload, median in zip(WORKLOADS, row, strict=True):
            for study, factor in enumerate((0.5, 1.0, 1.5)):
                for trial in range(5):
                    # One trial of each study arrives, as its second evaluation; the others never do.
                    arrives = trial == study and np.isfinite(median)
                    moment = factor * median if arrives else 1.0
                    rows.append(
                        {
                            "workload": f"{workload}_jax",
                            "study": study,
                            "trial": trial,
                            "validation/loss": np.array([1.0, 0.0 if arrives else 0.5]),
                            "global_step": np.array([0.0, moment]),
                        }
                    )
        submissions[f"s{position}"] = pd.DataFrame(rows)
    with tempfile.TemporaryDirectory() as folder:
        table = scoring.compute_performance_profiles(
            submissions, min_tau=1.0, max_tau=4.0, num_points=POINTS, output_dir=folder
        )
    return scoring.compute_leaderboard_score(table, normalize=True)["score"].tolist()


def main() -> None:
    """Write numbers.json."""
    draws = np.random.default_rng(8)
    aggregates = []
    for runs, problems in ((3, 1), (5, 4), (10, 8), (7, 3)):
        first, second = draws.lognormal(size=(2, runs, problems)).round(2)
        aggregates.append(
            {
                "first": first.tolist(),
                "second": second.tolist(),
                "interquartile_mean": metrics.aggregate_iqm(first),
                "optimality_gap": metrics.aggregate_optimality_gap(first),
                # rliable's is of the greater value; costs are better where they are less.
                "probability_of_improvement": metrics.probability_of_improvement(-first, -second),
            }
        )
    best = []
    for trials in (1, 4, 17):
        values = draws.normal(size=trials)
        counts = np.arange(1, trials + 1)
        distribution = EmpiricalDistribution(values)
        best.append(
            {
                "values": values.tolist(),
                "with_replacement": distribution.v_tuning_curve(counts, minimize=True).tolist(),
                "without_replacement": distribution.u_tuning_curve(counts, minimize=True).tolist(),
            }
        )
    times = draws.integers(50, 400, size=(4, len(WORKLOADS))).astype(float)
    times[1, 3] = times[2, 3] = times[0, 6] = np.inf
    profiles = {"times": times.tolist(), "points": POINTS, "scores": algoperf(sys.argv[1], times)}
    numbers = {"aggregates": aggregates, "expected_best": best, "profiles": profiles}
    text = json.dumps(numbers, default=float)
    Path(__file__).with_name("numbers.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
