"""Reproduce a published result: how much momentum accelerates gradient descent on quadratics.

Lessard, Recht, Packard, "Analysis and Design of Optimization Algorithms via Integral Quadratic Constraints", SIAM
Journal on Optimization 26(1), 2016, Proposition 1: on quadratics with curvatures from m to L, κ = L / m, the
distance to the minimum falls by a factor ρ a step, for each rule at its best constant settings:

    gradient descent   (κ − 1) / (κ + 1)       learning rate 2 / (L + m)
    Nesterov           1 − 2 / √(3κ + 1)       learning rate 4 / (3L + m), momentum (√(3κ + 1) − 2) / (√(3κ + 1) + 2)
    heavy ball         (√κ − 1) / (√κ + 1)     learning rate 4 / (√L + √m)², momentum ((√κ − 1) / (√κ + 1))²

Costs fall by ρ² a step. Here ρ is measured over the second half of 1,000 steps, for κ of 50, 100 and 1,000:

    python examples/acceleration.py

Gradient descent is within 0.001 % of the published rate; the other two are slower by 0.03 to 0.14 %: they have a double
root at an end of the range, so that their error falls as t ρᵗ, and over steps 500 to 1,000 the factor t adds up to
2^(1/500), 0.14 %.
"""

from math import sqrt
from typing import Any

import numpy as np

CONDITIONS = (50.0, 100.0, 1000.0)
STEPS = 1000


def published(condition: float) -> dict[str, float]:
    """ρ of each rule."""
    k, root = condition, sqrt(3 * condition + 1)
    return {"sgd": (k - 1) / (k + 1), "nesterov": 1 - 2 / root, "momentum": (sqrt(k) - 1) / (sqrt(k) + 1)}


def study(condition: float, steps: int = STEPS) -> dict[str, Any]:
    """The three rules at their best settings, on ten curvatures from m = 1 / κ to L = 1."""
    m, root = 1 / condition, sqrt(3 * condition + 1)
    heavy = (sqrt(condition) - 1) / (sqrt(condition) + 1)
    return {
        "problem": {"name": "quadratic", "dimension": 10, "condition": condition},
        "optimizers": [
            {"name": "sgd", "learning_rate": 2 / (1 + m)},
            {"name": "nesterov", "learning_rate": 4 / (3 + m), "momentum": (root - 2) / (root + 2)},
            {"name": "momentum", "learning_rate": 4 / (1 + sqrt(m)) ** 2, "momentum": heavy**2},
        ],
        "steps": steps,
        "seeds": 1,
        "precision": "float64",
    }


def measured(costs: Any) -> float:
    """ρ over the second half: (C_n / C_{n/2})^(1 / n)."""
    half = len(costs) // 2
    last = len(costs) - 1
    return float(np.exp(np.log(costs[last] / costs[half]) / (2 * (last - half))))


def main() -> None:
    """Run the three studies and print published and measured rates."""
    from talweg import Lab

    print(f"{'κ':>6}  {'rule':10}{'published':>10}{'measured':>10}{'difference':>12}")
    with Lab() as lab:
        for condition in CONDITIONS:
            found = lab.compare(**study(condition))
            found.wait()
            for run in found.runs:
                name = run.spec["optimizer"]["name"]
                known, seen = published(condition)[name], measured(run.costs)
                print(f"{condition:>6g}  {name:10}{known:10.5f}{seen:10.5f}{100 * (seen / known - 1):10.3f} %")


if __name__ == "__main__":
    main()
