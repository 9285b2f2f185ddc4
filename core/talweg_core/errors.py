"""The exceptions of the engine.

EngineError (a ValueError)
├── UnknownName             no optimizer, problem, layer … of that name
├── InvalidHyperparameter   out of its range, or unknown to this optimizer
├── InvalidProblem          a setting of a problem, a dataset or a schedule breaks a rule
├── InvalidNetwork          a layer does not fit its input
├── InvalidCohort           runs that cannot share a cohort, or a batch larger than the data
└── InvalidCheckpoint       bytes that are not a checkpoint of this cohort
"""

import difflib
from collections.abc import Iterable


class EngineError(ValueError):
    """The base class; a message names the thing, the rule and the value received."""


class UnknownName(EngineError):
    """An unknown name; the message gives the nearest valid one."""

    def __init__(self, kind: str, name: object, valid: Iterable[str]) -> None:
        """For an unknown `name` of a `kind`, such as "optimizer", and the `valid` names."""
        names = sorted(valid)
        near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"valid: {', '.join(names)}"
        super().__init__(f"{kind}: there is no {name!r}; {hint}")


class InvalidHyperparameter(EngineError):
    """A hyperparameter is out of its range, or unknown to this optimizer."""


class InvalidProblem(EngineError):
    """A setting of a problem, a dataset or a schedule breaks a rule."""


class InvalidNetwork(EngineError):
    """A layer does not fit its input; the message names the layer, its rule and the value received."""


class InvalidCohort(EngineError):
    """The runs cannot share a cohort, or the batch is larger than the data."""


class InvalidCheckpoint(EngineError):
    """The bytes are damaged, or a checkpoint of another cohort."""
