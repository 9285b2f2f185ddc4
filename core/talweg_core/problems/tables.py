"""Three small tables of measurements: a convex classification, a convex regression, a small network.

Data: see bundled/README.md.
"""

from typing import Any

from talweg_core.problems import bundled
from talweg_core.problems.network_problem import NetworkProblem


def breast_cancer_logistic() -> NetworkProblem:
    """Benign or malignant, by softmax regression on 30 measurements: 62 parameters, convex."""
    layers: list[dict[str, Any]] = [{"layer": "dense", "units": 2}]
    return NetworkProblem("breast-cancer-logistic", bundled.load("breast-cancer"), layers, "cross_entropy")


def diabetes_linear() -> NetworkProblem:
    """Progression of diabetes by linear regression on 10 measurements: 11 parameters, convex."""
    layers: list[dict[str, Any]] = [{"layer": "dense", "units": 1}]
    return NetworkProblem("diabetes-linear", bundled.load("diabetes"), layers, "squared_error")


def wine_mlp() -> NetworkProblem:
    """Three cultivars of wine by 13-16-3 units with tanh and cross-entropy: 275 parameters."""
    layers: list[dict[str, Any]] = [{"layer": "dense", "units": 16}, {"layer": "tanh"}, {"layer": "dense", "units": 3}]
    return NetworkProblem("wine-mlp", bundled.load("wine"), layers, "cross_entropy", batch_size=16)
