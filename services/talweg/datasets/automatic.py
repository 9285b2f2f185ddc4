"""The network and the cost of a problem that names a dataset and leaves them to the laboratory."""

from collections.abc import Callable
from math import prod
from typing import Any, Final

from talweg.errors import InvalidSpec
from talweg.spec import ProblemSpec
from talweg_core.data import Dataset

AUTO: Final = "auto"
_NARROWEST: Final = 8
_WIDEST: Final = 256
# Weights for each row that trains, at most.
_WEIGHTS_A_ROW: Final = 10
# So many rows for training pay for a second hidden layer.
_DEEPER: Final = 1000


def filled(problem: ProblemSpec, load: Callable[[], Dataset]) -> ProblemSpec:
    """The problem with network and cost where they are "auto" or absent; raises InvalidSpec."""
    settings = problem.settings
    absent = [key for key in ("network", "cost") if settings.get(key, AUTO) == AUTO]
    if not absent:
        return problem
    data = load()
    if data.targets.ndim > 1 and data.classes:
        raise InvalidSpec(f"network: must be written for {data.name}, whose targets are sequences: network=[…], cost=…")
    found: dict[str, Any] = {"network": network(data), "cost": "cross_entropy" if data.classes else "squared_error"}
    return problem.model_copy(update={key: found[key] for key in absent})


def network(data: Dataset) -> list[dict[str, Any]]:
    """Dense layers with ReLU between them: one hidden layer, two where 1,000 rows or more train.

    Their width is the largest power of two, from 8 to 256, that is at most 4 (inputs + outputs) and gives at most 10
    weights for each row that trains. Images are made flat first.
    """
    inputs, rows = prod(data.inputs.shape[1:]), len(data.splits["train"])
    outputs = data.classes or prod(data.targets.shape[1:])
    hidden = 2 if rows >= _DEEPER else 1
    width = _NARROWEST
    while (
        2 * width <= min(_WIDEST, 4 * (inputs + outputs))
        and _weights(inputs, 2 * width, outputs, hidden) <= _WEIGHTS_A_ROW * rows
    ):
        width *= 2
    layers: list[dict[str, Any]] = [{"layer": "flatten"}] if data.inputs.ndim > 2 else []
    for _ in range(hidden):
        layers += [{"layer": "dense", "units": width}, {"layer": "relu"}]
    return [*layers, {"layer": "dense", "units": outputs}]


def _weights(inputs: int, width: int, outputs: int, hidden: int) -> int:
    return (inputs + 1) * width + (hidden - 1) * (width + 1) * width + (width + 1) * outputs
