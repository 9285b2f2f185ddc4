"""The catalogue of optimizers: the engine's own, and those of installed packages (entry point `talweg.optimizers`)."""

from functools import cache
from typing import Any

from talweg_core.optimizers.adabelief import AdaBelief
from talweg_core.optimizers.adadelta import AdaDelta
from talweg_core.optimizers.adafactor import Adafactor
from talweg_core.optimizers.adagrad import AdaGrad
from talweg_core.optimizers.adam import Adam
from talweg_core.optimizers.adamax import AdaMax
from talweg_core.optimizers.adamw import AdamW
from talweg_core.optimizers.adan import Adan
from talweg_core.optimizers.ademamix import AdEMAMix
from talweg_core.optimizers.adopt import ADOPT
from talweg_core.optimizers.amsgrad import AMSGrad
from talweg_core.optimizers.base import WRAPPERS, BoundOptimizer, Hyperparameters, Optimizer, Situation, Wrapper
from talweg_core.optimizers.coordinate import CoordinateOptimizer
from talweg_core.optimizers.dadaptation import DAdaptation
from talweg_core.optimizers.description import Catalogue, Description, WrapperDescription, describe_wrapper
from talweg_core.optimizers.description import describe as _describe
from talweg_core.optimizers.lamb import LAMB
from talweg_core.optimizers.lars import LARS
from talweg_core.optimizers.lbfgs import LBFGS
from talweg_core.optimizers.lion import Lion
from talweg_core.optimizers.momentum import Momentum
from talweg_core.optimizers.muon import Muon
from talweg_core.optimizers.nadam import NAdam
from talweg_core.optimizers.nesterov import Nesterov
from talweg_core.optimizers.prodigy import Prodigy
from talweg_core.optimizers.radam import RAdam
from talweg_core.optimizers.rmsprop import RMSProp
from talweg_core.optimizers.rprop import Rprop
from talweg_core.optimizers.sam import SAM
from talweg_core.optimizers.schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD
from talweg_core.optimizers.sgd import SGD
from talweg_core.optimizers.shampoo import Shampoo
from talweg_core.optimizers.soap import SOAP
from talweg_core.optimizers.sophia import SophiaH
from talweg_core.optimizers.update_wrappers import Cautious, GrokFast, Lookahead, TensorRate, WeightAverage
from talweg_core.optimizers.wrappers import L2, Accumulate, Average, ClipNorm, ClipValue, Sharpness, WeightDecay
from talweg_core.optimizers.yogi import Yogi
from talweg_core.plugins import installed

_BUILT_IN: tuple[type[Optimizer], ...] = (
    SGD, Momentum, Nesterov, Rprop, AdaGrad, RMSProp, AdaDelta, Adam, AdaMax, AMSGrad, AdamW, NAdam, RAdam, AdaBelief,
    Yogi, Lion, Adan, AdEMAMix, ADOPT, ScheduleFreeSGD, ScheduleFreeAdamW, LARS, LAMB, Adafactor,
    Muon, Shampoo, SOAP, Prodigy, DAdaptation, LBFGS, SophiaH, SAM,
)  # fmt: skip

__all__ = [
    "ADOPT",
    "L2",
    "LAMB",
    "LARS",
    "LBFGS",
    "SAM",
    "SGD",
    "SOAP",
    "AMSGrad",
    "Accumulate",
    "AdEMAMix",
    "AdaBelief",
    "AdaDelta",
    "AdaGrad",
    "AdaMax",
    "Adafactor",
    "Adam",
    "AdamW",
    "Adan",
    "Average",
    "BoundOptimizer",
    "Catalogue",
    "Cautious",
    "ClipNorm",
    "ClipValue",
    "CoordinateOptimizer",
    "DAdaptation",
    "Description",
    "GrokFast",
    "Hyperparameters",
    "Lion",
    "Lookahead",
    "Momentum",
    "Muon",
    "NAdam",
    "Nesterov",
    "Optimizer",
    "Prodigy",
    "RAdam",
    "RMSProp",
    "Rprop",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "Shampoo",
    "Sharpness",
    "Situation",
    "SophiaH",
    "TensorRate",
    "WeightAverage",
    "WeightDecay",
    "Wrapper",
    "WrapperDescription",
    "Yogi",
    "catalogue",
    "create",
    "describe",
    "describe_wrappers",
    "names",
]  # fmt: skip


def catalogue() -> Catalogue:
    """Every optimizer by name: the engine's, and those of installed packages (entry point `talweg.optimizers`)."""
    return Catalogue(_installed() | {kind.name: kind for kind in _BUILT_IN})


def describe(name: str) -> Description:
    """The description of the optimizer of that name: formula, ranges, defaults, source; raises UnknownName."""
    return _describe(catalogue().find(name))


def describe_wrappers() -> list[WrapperDescription]:
    """The description of every wrapper, by name; Optimizer.around says how to set them."""
    return [describe_wrapper(WRAPPERS[name]) for name in sorted(WRAPPERS)]


def names() -> list[str]:
    """The name of every optimizer that `create` accepts."""
    return sorted(catalogue())


def create(name: str, **hyperparameters: Any) -> Optimizer:
    """The optimizer of that name; raises UnknownName or InvalidHyperparameter, which give the nearest valid name."""
    kind = catalogue().find(name)
    kind.check_names(hyperparameters)
    return kind(**hyperparameters)


# Searching the installed packages takes 10 ms, and a study creates thousands of optimizers. A package installed later
# is found by the next process.
@cache
def _installed() -> dict[str, type[Optimizer]]:
    return installed("optimizer", {kind.name for kind in _BUILT_IN}, fault)


def fault(name: str, value: Any) -> str | None:
    """The rule that the value of an entry point of that name breaks; None where it is a usable optimizer."""
    if not isinstance(value, type) or not issubclass(value, Optimizer):
        return f"must be a subclass of Optimizer, got {value!r}"
    return None if value.name == name else f"must have that name, got {value.name!r}"
