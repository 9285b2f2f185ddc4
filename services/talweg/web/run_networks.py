"""Networks, optimizer rules, weights and test functions on a run's page, as plain data for its script.

An optimizer's rule is a list of expression trees, which the page evaluates line by line with a step's numbers.
"""

import ast
import inspect
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from talweg.comparison.results import Floats
from talweg.figures.path_figures import bounds, costs_over, heights
from talweg.figures.run_figures import histogram, slices
from talweg.records import Snapshot
from talweg.rules import kind_of
from talweg.store import RunRow
from talweg.web.inline import Json, coarse, floats, numbers
from talweg_core.chain_rule import factors, has_factors
from talweg_core.optimizers.base import Optimizer
from talweg_core.optimizers.coordinate import CoordinateOptimizer
from talweg_core.problems import NetworkProblem, Problem, SurfaceProblem

_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
_COMPARISONS = {ast.Lt: "<", ast.Gt: ">", ast.LtE: "<=", ast.GtE: ">=", ast.Eq: "=="}
_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "**": np.power,
}  # fmt: skip
_COMPARED: dict[str, Callable[..., Any]] = {
    "<": np.less, ">": np.greater, "<=": np.less_equal, ">=": np.greater_equal, "==": np.equal,
}  # fmt: skip
_CALLED: dict[str, Callable[..., Any]] = {"sqrt": np.sqrt, "max": np.maximum, "min": np.minimum, "abs": np.abs}

Tree = list[Any]
Values = Any
POINTS = 96
# The most steps with a histogram, the most tensors with one, and the bins of each.
HISTOGRAMS, TENSORS, BINS = 60, 12, 41
QUANTITIES = ("parameters", "gradient", "update")
# Examples of a batch whose terms in the chain rule are listed.
EXAMPLES = 3
# A network with more lines, or more units in a column, is not drawn: nothing could be read from it.
LINES, UNITS = 700, 40


def lines(kind: type[CoordinateOptimizer]) -> list[dict[str, Any]] | None:
    """[{"name": "m", "tree": …}, …] with one named "update"; None where the rule holds more than arithmetic."""
    try:
        function = ast.parse(textwrap.dedent(inspect.getsource(kind.rule))).body[0]
        assert isinstance(function, ast.FunctionDef)
        found = [line for statement in function.body for line in _statement(statement, kind.state)]
    except (OSError, SyntaxError, _Unknown):
        # A user's own rule may have no source here, and may hold any code.
        return None
    return found if found and any(line["name"] == "update" for line in found) else None


def evaluate(tree: Tree, scope: Mapping[str, Values]) -> Values:
    """The values of a line for all coordinates, as the page's script computes them for one."""
    match tree:
        case ["name", str(name)]:
            return scope[name]
        case ["number", value]:
            return np.float64(value)
        case ["negative", inner]:
            return -evaluate(inner, scope)
        case ["call", str(name), *inner]:
            return _CALLED[name](*(evaluate(each, scope) for each in inner))
        case ["if", str(sign), left, right, yes, no]:
            holds = _COMPARED[sign](evaluate(left, scope), evaluate(right, scope))
            return np.where(holds, evaluate(yes, scope), evaluate(no, scope))
        case [str(sign), left, right]:
            return _ARITHMETIC[sign](evaluate(left, scope), evaluate(right, scope))
    raise ValueError(tree)


def reproduces(tree: Sequence[dict[str, Any]], scope: Mapping[str, Values], update: Values, *, exact: float) -> bool:
    """Whether the lines give this update, to `exact` of it.

    They may not: a rule may do more than its lines, for instance at its first step.
    """
    known = dict(scope)
    with np.errstate(all="ignore"):
        for line in tree:
            known[line["name"]] = evaluate(line["tree"], known)
        # θ + u rounds u to the last digit of θ.
        room = exact * (np.abs(update) + np.abs(scope["parameter"]) * 1e-3)
        return bool(np.all((np.abs(known["update"] - update) <= room) | ~np.isfinite(update)))


class _Unknown(Exception):
    """Code that the page's script cannot evaluate."""


def _statement(statement: ast.stmt, state: tuple[str, ...]) -> list[dict[str, Any]]:
    match statement:
        case ast.Expr(ast.Constant(str())):
            return []
        case ast.Assign([ast.Name(name)], value):
            return [{"name": name, "tree": _tree(value)}]
        case ast.Return(ast.Tuple([first, *rest])):
            named = [("update", first), *zip(state, rest, strict=True)]
            # `return update, m` adds no line for m.
            return [
                {"name": name, "tree": _tree(value)}
                for name, value in named
                if not (isinstance(value, ast.Name) and value.id == name)
            ]
    raise _Unknown


def _tree(node: ast.expr) -> Tree:
    match node:
        case ast.Name(name):
            return ["name", name]
        case ast.Constant(int() | float() as value):
            return ["number", value]
        case ast.UnaryOp(ast.USub(), operand):
            return ["negative", _tree(operand)]
        case ast.BinOp(left, operator, right) if type(operator) in _OPERATORS:
            return [_OPERATORS[type(operator)], _tree(left), _tree(right)]
        case ast.Call(ast.Name(name), arguments, []) if name in _CALLED:
            return ["call", name, *map(_tree, arguments)]
        case ast.IfExp(ast.Compare(left, [operator], [right]), yes, no) if type(operator) in _COMPARISONS:
            return ["if", _COMPARISONS[type(operator)], _tree(left), _tree(right), _tree(yes), _tree(no)]
    raise _Unknown


def grid(problem: Problem, path: Floats | None) -> Json | None:
    """The heights of a test function of two coordinates on a grid around the path; None for other problems."""
    if not isinstance(problem, SurfaceProblem) or problem.layout.size != 2 or path is None:
        return None
    low, high = bounds(np.asarray(path, dtype=np.float64), problem.minimiser)
    height = heights(costs_over(problem, low, high, POINTS), problem.least)
    middle = (height.max() + height.min()) / 2
    return {
        "low": numbers(low),
        "high": numbers(high),
        "points": POINTS,
        "heights": coarse((height - middle).reshape(1, -1)),
        "minimiser": numbers(problem.minimiser),
        "formula": inspect.getdoc(problem.surface) or "",
    }


def pictures(run: RunRow, problem: Problem, snapshots: Iterable[Snapshot], pictured: set[int]) -> Json:
    """`histograms` of every snapshot, and `snapshots` with each coordinate at the steps that are `pictured`."""
    steps: list[int] = []
    at: list[int] = []
    values: dict[str, list[Floats]] = {quantity: [] for quantity in QUANTITIES}
    kept: dict[str, list[Floats]] = {quantity: [] for quantity in QUANTITIES}
    for snapshot in snapshots:
        steps.append(snapshot.step)
        at += [snapshot.step] if snapshot.step in pictured else []
        for quantity in QUANTITIES:
            # In float32 the width of a histogram's range may overflow.
            vector = np.asarray(getattr(snapshot, quantity), dtype=np.float64)
            values[quantity].append(vector)
            if snapshot.step in pictured:
                kept[quantity].append(vector)
    found: Json = {"histograms": {"steps": steps, "bins": BINS, "tensors": _histograms(run, values)}}
    if at:
        found["snapshots"] = {"steps": at, "tensors": _snapshots(run, problem, kept)}
    return found


def _histograms(run: RunRow, values: dict[str, list[Floats]]) -> list[Json]:
    found = []
    for name, _, where in slices(run)[:TENSORS]:
        own: Json = {"name": name}
        for quantity in ("parameters", "gradient"):
            rows = np.stack([vector[where] for vector in values[quantity]])
            limit, counts = histogram(rows, BINS)
            own[quantity] = {"limit": numbers([limit])[0], "counts": coarse(counts)}
        found.append(own)
    return found


def _snapshots(run: RunRow, problem: Problem, kept: dict[str, list[Floats]]) -> list[Json]:
    found = []
    for name, shape, where in slices(run):
        tiles = _side(problem, name, shape)
        own: Json = {"name": name, "shape": list(shape), "tiles": tiles}
        for quantity, vectors in kept.items():
            own[quantity] = coarse([vector[where] for vector in vectors])
        found.append(own)
    return found


def _side(problem: Problem, name: str, shape: tuple[int, ...]) -> int:
    """The side, in pixels, of the image that a unit's incoming weights form; 0 where the inputs are no image."""
    if not isinstance(problem, NetworkProblem) or name != problem.layout.names[0] or len(shape) != 2:
        return 0
    side = math.isqrt(shape[0])
    return side if side * side == shape[0] and side >= 4 and problem.dataset.name == "digits" else 0


def values_a_step(problem: Problem) -> int:
    """The count of numbers that `chain` holds for each step."""
    if not isinstance(problem, NetworkProblem) or not has_factors(problem):
        return 0
    shapes = problem.network.stack.shapes
    return EXAMPLES * sum(shapes[i][0] + 2 * shapes[i + 1][0] for i in range(len(shapes) - 1))


def chain(problem: Problem, snapshots: Sequence[Snapshot]) -> Json:
    """The layers with their factors in the chain rule at each snapshot, for a network of dense layers; else {}."""
    if not isinstance(problem, NetworkProblem) or not has_factors(problem) or not snapshots[0].batch.size:
        return {}
    shapes = [shape[0] for shape in problem.network.stack.shapes]
    layers: list[Json] = []
    found = [factors(problem, snapshot.parameters, snapshot.batch) for snapshot in snapshots]
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
            "examples": len(snapshots[0].batch),
            "cost": cost.name.replace("_", " "),
            "penalty": bool(cost.l1 or cost.l2),
            "drawn": drawn,
        }
    }


def _holds(tree: list[Json], snapshot: Snapshot) -> bool:
    scope = {
        "gradient": snapshot.gradient,
        "parameter": snapshot.parameters,
        **snapshot.before,
        **snapshot.numbers,
    }
    plain = {name: np.asarray(values, dtype=np.float64) for name, values in scope.items()}
    return reproduces(tree, plain, snapshot.update.astype(np.float64), exact=1e-2)


def _explanation(kind: type[Optimizer]) -> str | None:
    """The rule's docstring, where it explains names that the optimizer's formula does not have."""
    text = inspect.getdoc(kind.rule) if issubclass(kind, CoordinateOptimizer) else None
    return text if text and "`" in text else None


def rule(run: RunRow, snapshots: Sequence[Snapshot]) -> Json:
    """The optimizer's rule by lines with each snapshot's numbers; without lines, its state before and after updates."""
    kind = kind_of(run.optimizer)
    first = snapshots[0]
    tree = lines(kind) if issubclass(kind, CoordinateOptimizer) and first.numbers else None
    if tree is not None and not all(_holds(tree, snapshot) for snapshot in snapshots):
        tree = None
    found: Json = {
        "lines": tree,
        "explanation": _explanation(kind),
        "before": {name: floats([each.before[name] for each in snapshots]) for name in first.before},
        "numbers": {name: floats([each.numbers[name] for each in snapshots]) for name in first.numbers},
    }
    if tree is None:
        found["after"] = {name: floats([each.after[name] for each in snapshots]) for name in first.after}
    return {"rule": found}
