"""The catalogue of problems: by name, or spelled out as dataset, network and cost."""

import inspect
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from talweg_core.errors import InvalidProblem, UnknownName
from talweg_core.problems import bundled, quadratic, rosenbrock, two_layer_line
from talweg_core.problems.base import Oracle, Problem
from talweg_core.problems.network_problem import NetworkProblem
from talweg_core.problems.surface import SurfaceProblem

__all__ = ["NetworkProblem", "Oracle", "Problem", "SurfaceProblem", "catalogue", "create", "names"]


Layers = list[dict[str, Any]]


def digits_mlp() -> NetworkProblem:
    """Handwritten digits by 64-64-10 units with relu and cross-entropy: 4,810 parameters."""
    layers: Layers = [{"layer": "dense", "units": 64}, {"layer": "relu"}, {"layer": "dense", "units": 10}]
    return NetworkProblem("digits-mlp", bundled.load("digits"), layers, "cross_entropy")


def wine_mlp() -> NetworkProblem:
    """Three cultivars of wine by 13-16-3 units with tanh and cross-entropy: 275 parameters."""
    layers: Layers = [{"layer": "dense", "units": 16}, {"layer": "tanh"}, {"layer": "dense", "units": 3}]
    return NetworkProblem("wine-mlp", bundled.load("wine"), layers, "cross_entropy", batch_size=16)


def breast_cancer_logistic() -> NetworkProblem:
    """Benign or malignant, by softmax regression on 30 measurements: 62 parameters, convex."""
    layers = [{"layer": "dense", "units": 2}]
    return NetworkProblem("breast-cancer-logistic", bundled.load("breast-cancer"), layers, "cross_entropy")


def diabetes_linear() -> NetworkProblem:
    """Progression of diabetes by linear regression on 10 measurements: 11 parameters, convex."""
    return NetworkProblem(
        "diabetes-linear", bundled.load("diabetes"), [{"layer": "dense", "units": 1}], "squared_error"
    )


_BUILT_IN: dict[str, Callable[..., Problem]] = {
    "breast-cancer-logistic": breast_cancer_logistic,
    "diabetes-linear": diabetes_linear,
    "digits-mlp": digits_mlp,
    "quadratic": quadratic.create,
    "rosenbrock": rosenbrock.create,
    "two-layer-line": two_layer_line.create,
    "wine-mlp": wine_mlp,
}


def catalogue() -> dict[str, Callable[..., Problem]]:
    """Every problem's maker by name: our own, and those that installed packages add as `talweg.problems`."""
    found = {point.name: point.load() for point in entry_points(group="talweg.problems")}
    return found | _BUILT_IN


def names() -> list[str]:
    """Every problem that `create` knows by name."""
    return sorted(catalogue())


def create(name: str | None = None, **settings: Any) -> Problem:
    """The problem of that name with these settings, or one spelled out: dataset, network, cost.

    Raises UnknownName, InvalidProblem or InvalidNetwork, which name the thing, the rule and the value.
    """
    if name is None:
        return _spelled_out(**settings)
    makers = catalogue()
    if name not in makers:
        raise UnknownName("problem", name, makers)
    known = inspect.signature(makers[name]).parameters
    for key in settings:
        if key not in known:
            if not known:
                raise InvalidProblem(f"{name}: takes no settings, got {key}")
            raise UnknownName(f"{name}: setting", key, known)
    try:
        return makers[name](**settings)
    except TypeError as error:
        raise InvalidProblem(f"{name}: a setting has the wrong type: {error}") from error


def _spelled_out(**settings: Any) -> Problem:
    expected = {"dataset", "network", "cost"}
    for key in settings:
        if key not in {*expected, "start"}:
            raise UnknownName("problem: setting", key, {*expected, "start"})
    if missing := sorted(expected - settings.keys()):
        raise InvalidProblem(f"problem: {', '.join(missing)} must be given where there is no name")
    dataset, network, cost = settings["dataset"], settings["network"], settings["cost"]
    if not isinstance(network, list) or not all(isinstance(layer, dict) for layer in network):
        raise InvalidProblem(f"network: must be a list of layers, got {network!r}")
    described = {"dataset": dataset, "network": network, "cost": cost}
    start = settings.get("start")
    return NetworkProblem(f"{dataset}-network", bundled.load(dataset), network, cost, start=start, described=described)
