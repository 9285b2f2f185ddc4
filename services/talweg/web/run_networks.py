"""Networks, rules, weights and test functions on a run's page: what its script draws, as plain data.

An optimizer's rule is a small tree, so that the page can work it out with a step's numbers, line by line.
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
from talweg.store import RunRow
from talweg.web.run_page_html import Json, coarse, floats, numbers
from talweg_core import optimizers
from talweg_core.chain_rule import factors, has_factors
from talweg_core.optimizers.base import Optimizer
from talweg_core.optimizers.coordinate import CoordinateOptimizer
from talweg_core.problems import NetworkProblem, Problem, SurfaceProblem

_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
_COMPARISONS = {ast.Lt: "<", ast.Gt: ">", ast.LtE: "<=", ast.GtE: ">=", ast.Eq: "=="}
_COUNTED: dict[str, Callable[..., Any]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "**": np.power,
}  # fmt: skip
_COMPARED: dict[str, Callable[..., Any]] = {
    "<": np.less, ">": np.greater, "<=": np.less_equal, ">=": np.greater_equal, "==": np.equal,
}  # fmt: skip
_CALLED: dict[str, Callable[..., Any]] = {"sqrt": np.sqrt, "max": np.maximum, "min": np.minimum, "abs": np.abs}

Tree = list[Any]
Values = Any
POINTS = 96
# Steps with a histogram, tensors that have one, and bins of each.
HISTOGRAMS, TENSORS, BINS = 60, 12, 41
QUANTITIES = ("parameters", "gradient", "update")
# Examples of a batch whose terms are told one by one.
EXAMPLES = 3
# A drawing with more lines, or more units in a row, shows nothing.
LINES, UNITS = 700, 40


def lines(kind: type[CoordinateOptimizer]) -> list[dict[str, Any]] | None:
    """[{"name": "m", "tree": …}, …], the last one named "update"; None where the rule says more than arithmetic."""
    try:
        function = ast.parse(textwrap.dedent(inspect.getsource(kind.rule))).body[0]
        assert isinstance(function, ast.FunctionDef)
        found = [line for statement in function.body for line in _statement(statement, kind.state)]
    except (OSError, SyntaxError, _Unknown):
        # A user's own rule may come without source, and may do anything.
        return None
    return found if found and any(line["name"] == "update" for line in found) else None


def evaluate(tree: Tree, scope: Mapping[str, Values]) -> Values:
    """The value of a line, coordinate by coordinate, as the page's script works it out for one."""
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
            return _COUNTED[sign](evaluate(left, scope), evaluate(right, scope))
    raise ValueError(tree)


def tell(tree: Sequence[dict[str, Any]], scope: Mapping[str, Values], update: Values, *, exact: float) -> bool:
    """The lines give this update, to `exact` of it: a rule may do more than its lines say, at its first step say."""
    known = dict(scope)
    with np.errstate(all="ignore"):
        for line in tree:
            known[line["name"]] = evaluate(line["tree"], known)
        # θ + u rounds u to what is left of θ's digits.
        room = exact * (np.abs(update) + np.abs(scope["parameter"]) * 1e-3)
        return bool(np.all((np.abs(known["update"] - update) <= room) | ~np.isfinite(update)))


class _Unknown(Exception):
    """Something that the page could not work out."""


def _statement(statement: ast.stmt, state: tuple[str, ...]) -> list[dict[str, Any]]:
    match statement:
        case ast.Expr(ast.Constant(str())):
            return []
        case ast.Assign([ast.Name(name)], value):
            return [{"name": name, "tree": _tree(value)}]
        case ast.Return(ast.Tuple([first, *rest])):
            named = [("update", first), *zip(state, rest, strict=True)]
            # `return update, m` says nothing new.
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
    """None for every other problem."""
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


def pictures(run: RunRow, problem: Problem, looks: Iterable[Snapshot], pictured: set[int]) -> Json:
    """`histograms` at every look, `snapshots` at the steps that are `pictured`."""
    steps: list[int] = []
    at: list[int] = []
    values: dict[str, list[Floats]] = {quantity: [] for quantity in QUANTITIES}
    kept: dict[str, list[Floats]] = {quantity: [] for quantity in QUANTITIES}
    for look in looks:
        steps.append(look.step)
        at += [look.step] if look.step in pictured else []
        for quantity in QUANTITIES:
            # In float64 nothing overflows where a range is taken.
            vector = np.asarray(getattr(look, quantity), dtype=np.float64)
            values[quantity].append(vector)
            if look.step in pictured:
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
            reach, counts = histogram(rows, BINS)
            own[quantity] = {"reach": numbers([reach])[0], "counts": coarse(counts)}
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
    """The side of the picture that a unit's incoming weights make, 0 where the inputs are none."""
    if not isinstance(problem, NetworkProblem) or name != problem.layout.names[0] or len(shape) != 2:
        return 0
    side = math.isqrt(shape[0])
    return side if side * side == shape[0] and side >= 4 and problem.dataset.name == "digits" else 0


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
