"""The catalogue of problems: by name, or defined by dataset, network and cost."""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from talweg_core.data import Dataset
from talweg_core.errors import InvalidProblem, UnknownName
from talweg_core.plugins import installed
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
    test_functions,
    two_layer_line,
    two_spirals,
    unsolved,
)  # fmt: skip
from talweg_core.problems.base import Oracle, Problem
from talweg_core.problems.description import Description
from talweg_core.problems.description import describe as _describe
from talweg_core.problems.network_problem import NetworkProblem
from talweg_core.problems.noisy_quadratic import NoisyQuadratic
from talweg_core.problems.rotated_quadratic import RotatedQuadratic
from talweg_core.problems.surface import SurfaceProblem

__all__ = [
    "Description", "NetworkProblem", "Oracle", "Problem", "SurfaceProblem", "catalogue", "create", "describe", "names",
]  # fmt: skip

MAXIMUM_LAYERS = 1000

_BUILT_IN: dict[str, Callable[..., Problem]] = {
    "ackley": test_functions.ackley_n,
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
    "griewank": test_functions.griewank_n,
    "himmelblau": himmelblau.create,
    "ill-conditioned-logistic": unsolved.ill_conditioned_logistic,
    "noisy-quadratic": NoisyQuadratic,
    "plateau": plateau.create,
    "quadratic": quadratic.create,
    "rastrigin": rastrigin.create,
    "rosenbrock": rosenbrock.create,
    "rosenbrock-n": test_functions.rosenbrock_n,
    "rotated-quadratic": RotatedQuadratic,
    "saddle": saddle.create,
    "styblinski-tang": test_functions.styblinski_tang_n,
    "teacher-student": teacher_student.create,
    "two-layer-line": two_layer_line.create,
    "two-spirals": two_spirals.create,
    "wine-mlp": tables.wine_mlp,
    "zipf-language-model": unsolved.zipf_language_model,
}


def catalogue() -> dict[str, Callable[..., Problem]]:
    """Every problem's maker by name: the engine's, and those of installed packages (entry point `talweg.problems`)."""
    return _installed() | _BUILT_IN


# As in the catalogue of optimizers.
@cache
def _installed() -> dict[str, Callable[..., Problem]]:
    return installed("problem", _BUILT_IN, fault)


def fault(_: str, value: Any) -> str | None:
    """The rule that the value of an entry point breaks; None where it may make a problem."""
    return None if callable(value) else f"must be a class or a function that makes a problem, got {value!r}"


def describe(name: str) -> Description:
    """The description of the problem of that name: purpose, size, settings; raises UnknownName."""
    makers = catalogue()
    if name not in makers:
        raise UnknownName("problem", name, makers)
    return _describe(name, makers[name])


def names() -> list[str]:
    """The name of every problem that `create` accepts."""
    return sorted(catalogue())


def create(name: str | None = None, *, datasets: Callable[[str], Dataset] = bundled.load, **settings: Any) -> Problem:
    """The problem of that name with these settings, or without a name, the one of a dataset, a network and a cost.

    `datasets` loads the dataset of a problem without a name; by default those bundled with the engine.
    Raises UnknownName, InvalidProblem or InvalidNetwork, which name the thing, the rule and the value.
    """
    if name is None:
        return _without_name(datasets, **settings)
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


def _without_name(datasets: Callable[[str], Dataset], **settings: Any) -> Problem:
    expected = {"dataset", "network", "cost"}
    for key in settings:
        if key not in {*expected, "start"}:
            raise UnknownName("problem: setting", key, {*expected, "start"})
    if missing := sorted(expected - settings.keys()):
        raise InvalidProblem(f"problem: {', '.join(missing)} must be given where the problem has no name")
    dataset, network, cost = settings["dataset"], settings["network"], settings["cost"]
    if not isinstance(network, list) or not all(isinstance(layer, dict) for layer in network):
        raise InvalidProblem(f'network: must be a list such as [{{"layer": "dense", "units": 10}}], got {network!r}')
    if len(network) > MAXIMUM_LAYERS:
        raise InvalidProblem(f"network: must have at most {MAXIMUM_LAYERS} layers, got {len(network)}")
    if not isinstance(dataset, str):
        raise InvalidProblem(f"dataset: must be a name, got {dataset!r}")
    described = {"dataset": dataset, "network": network, "cost": cost}
    start = settings.get("start")
    return NetworkProblem(f"{dataset}-network", datasets(dataset), network, cost, start=start, described=described)
