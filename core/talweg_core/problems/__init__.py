"""The catalogue of problems: by name, or spelled out as dataset, network and cost."""

import inspect
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from talweg_core.errors import InvalidProblem, UnknownName
from talweg_core.problems import (
    beale,
    branin,
    bundled,
    characters,
    deep_linear,
    digits,
    himmelblau,
    plateau,
    quadratic,
    rastrigin,
    rosenbrock,
    saddle,
    tables,
    teacher_student,
    two_layer_line,
    two_spirals,
)  # fmt: skip
from talweg_core.problems.base import Oracle, Problem
from talweg_core.problems.description import Description
from talweg_core.problems.description import describe as _describe
from talweg_core.problems.network_problem import NetworkProblem
from talweg_core.problems.noisy_quadratic import NoisyQuadratic
from talweg_core.problems.surface import SurfaceProblem

__all__ = [
    "Description", "NetworkProblem", "Oracle", "Problem", "SurfaceProblem", "catalogue", "create", "describe", "names",
]  # fmt: skip


_BUILT_IN: dict[str, Callable[..., Problem]] = {
    "beale": beale.create,
    "branin": branin.create,
    "breast-cancer-logistic": tables.breast_cancer_logistic,
    "characters-recurrent": characters.recurrent,
    "characters-transformer": characters.transformer,
    "deep-linear": deep_linear.create,
    "diabetes-linear": tables.diabetes_linear,
    "digits-autoencoder": digits.autoencoder,
    "digits-cnn": digits.cnn,
    "digits-mlp": digits.mlp,
    "digits-vae": digits.vae,
    "himmelblau": himmelblau.create,
    "noisy-quadratic": NoisyQuadratic,
    "plateau": plateau.create,
    "quadratic": quadratic.create,
    "rastrigin": rastrigin.create,
    "rosenbrock": rosenbrock.create,
    "saddle": saddle.create,
    "teacher-student": teacher_student.create,
    "two-layer-line": two_layer_line.create,
    "two-spirals": two_spirals.create,
    "wine-mlp": tables.wine_mlp,
}


def catalogue() -> dict[str, Callable[..., Problem]]:
    """Every problem's maker by name: our own, and those that installed packages add as `talweg.problems`."""
    found = {point.name: point.load() for point in entry_points(group="talweg.problems")}
    return found | _BUILT_IN


def describe(name: str) -> Description:
    """The problem of that name in words: what it is, its size, its settings; raises UnknownName."""
    makers = catalogue()
    if name not in makers:
        raise UnknownName("problem", name, makers)
    return _describe(name, makers[name])


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
