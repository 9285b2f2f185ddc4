"""Find an optimizer's class by the name in a spec, wherever it comes from."""

from typing import Any

from talweg import libraries
from talweg.errors import TalwegError
from talweg.rules import sources
from talweg_core.errors import EngineError
from talweg_core.optimizers import Optimizer, catalogue


def kind_of(name: str) -> type[Optimizer]:
    """The class of that name: `adam`, `torch:AdamW`, or `mine@3f2a91` from a user's source.

    Raises:
        EngineError: There is none of that name, or its source breaks the contract of optimizers.
        InvalidSpec: This process loads no sources.
    """
    if sources.is_own(name):
        return sources.stored(name)
    return libraries.kind_of(name) if libraries.is_of_library(name) else catalogue().find(name)


def kind_or_none(name: str) -> type[Optimizer] | None:
    """The class of that name; None where it cannot be loaded here."""
    try:
        return kind_of(name)
    except (EngineError, TalwegError):
        return None


def create(name: str, **hyperparameters: Any) -> Optimizer:
    """The optimizer of that name; raises as `kind_of` does, and InvalidHyperparameter."""
    kind = kind_of(name)
    settings = libraries.translated(kind, hyperparameters)
    kind.check_names(settings)
    return kind(**settings)
