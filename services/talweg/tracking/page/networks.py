"""Small networks and rules on a page: each layer's factors of the chain rule, each line of the optimizer's rule."""

import inspect
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from talweg.records import Snapshot
from talweg.store import RunRow
from talweg.tracking.page.packing import Json, floats
from talweg.tracking.page.rules import lines, tell
from talweg_core import optimizers
from talweg_core.chain import factors, has_factors
from talweg_core.optimizers.base import Optimizer
from talweg_core.optimizers.coordinate import CoordinateOptimizer
from talweg_core.problems import NetworkProblem, Problem

# Examples of a batch whose terms are told one by one.
EXAMPLES = 3
# A drawing with more lines, or more units in a row, shows nothing.
LINES, UNITS = 700, 40


def values_a_step(problem: Problem) -> int:
    """How many numbers `chain` takes for a step."""
    if not isinstance(problem, NetworkProblem) or not has_factors(problem):
        return 0
    shapes = problem.network.stack.shapes
    return EXAMPLES * sum(shapes[i][0] + 2 * shapes[i + 1][0] for i in range(len(shapes) - 1))


def chain(problem: Problem, looks: Sequence[Snapshot]) -> Json:
    """Layers with their factors at each look, where the problem is a network of dense layers."""
    if not isinstance(problem, NetworkProblem) or not has_factors(problem) or not looks[0].batch.size:
        return {}
    shapes = [shape[0] for shape in problem.network.stack.shapes]
    layers: list[Json] = []
    found = [factors(problem, look.parameters, look.batch) for look in looks]
    for position, name in enumerate(problem.network.stack.names):
        own = [each[position] for each in found]
        layers.append(
            {
                "name": name,
                "activation": own[0].activation,
                "size": [shapes[position], shapes[position + 1]],
                "bias": f"{name}.bias" in problem.layout.names,
                "inputs": floats([each.inputs[:EXAMPLES] for each in own]),
                "arriving": floats([each.arriving[:EXAMPLES] for each in own]),
                "deltas": floats([each.deltas[:EXAMPLES] for each in own]),
            }
        )
    drawn = max(shapes) <= UNITS and sum(a * b for a, b in pairwise(shapes)) <= LINES
    cost = problem.network.cost
    return {
        "network": {
            "layers": layers,
            "examples": len(looks[0].batch),
            "cost": cost.name.replace("_", " "),
            "penalty": bool(cost.l1 or cost.l2),
            "drawn": drawn,
        }
    }


def _told(tree: list[Json], look: Snapshot) -> bool:
    scope = {"gradient": look.gradient, "parameter": look.parameters, **look.before, **look.numbers}
    plain = {name: np.asarray(values, dtype=np.float64) for name, values in scope.items()}
    return tell(tree, plain, look.update.astype(np.float64), exact=1e-2)


def _words(kind: type[Optimizer]) -> str | None:
    """What the rule says of names that its formula has not."""
    said = inspect.getdoc(kind.rule) if issubclass(kind, CoordinateOptimizer) else None
    return said if said and "`" in said else None


def rule(run: RunRow, looks: Sequence[Snapshot]) -> Json:
    """The optimizer's rule by lines with each look's numbers; its state around each update where it has no lines."""
    kind = optimizers.catalogue()[run.optimizer]
    tree = lines(kind) if issubclass(kind, CoordinateOptimizer) and looks[0].numbers else None
    if tree is not None and not all(_told(tree, look) for look in looks):
        tree = None
    found: Json = {
        "lines": tree,
        "words": _words(kind),
        "before": {name: floats([look.before[name] for look in looks]) for name in looks[0].before},
        "numbers": {name: floats([look.numbers[name] for look in looks]) for name in looks[0].numbers},
    }
    if tree is None:
        found["after"] = {name: floats([look.after[name] for look in looks]) for name in looks[0].after}
    return {"rule": found}
