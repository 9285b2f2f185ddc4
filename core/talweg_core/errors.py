"""Every exception of the engine, as one tree.

EngineError (a ValueError)
├── UnknownName             no optimizer, problem, layer … of that name
├── InvalidHyperparameter   out of its range, or not one of this optimizer's
├── InvalidProblem          a setting of a problem, a dataset or a schedule breaks a rule
├── InvalidNetwork          a layer does not fit what comes before it
├── InvalidCohort           runs that cannot train side by side, or a batch larger than the data
└── InvalidCheckpoint       bytes that are no checkpoint of this cohort
"""

import difflib
from collections.abc import Iterable


class EngineError(ValueError):
    """Base of all; the message names the thing, the rule and the value received."""


class UnknownName(EngineError):
    """Nothing of that kind has that name; the message gives the nearest valid one."""

    def __init__(self, kind: str, name: object, valid: Iterable[str]) -> None:
        """Say which `kind` of thing has no such `name`, and what the `valid` names are."""
        names = sorted(valid)
        near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"valid: {', '.join(names)}"
        super().__init__(f"{kind}: there is no {name!r}; {hint}")


class InvalidHyperparameter(EngineError):
    """A hyperparameter is out of its range, or not one of this optimizer's."""


class InvalidProblem(EngineError):
    """A setting of a problem, a dataset or a schedule breaks a rule."""


class InvalidNetwork(EngineError):
    """A layer does not fit what comes before it: names the layer, what it got and what it needs."""


class InvalidCohort(EngineError):
    """The runs cannot train side by side, or the batch is larger than the data."""


class InvalidCheckpoint(EngineError):
    """The bytes are damaged, or a checkpoint of something else."""
