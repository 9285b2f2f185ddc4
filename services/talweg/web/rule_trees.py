"""An optimizer's rule as a small tree, so that a page can work it out with a step's numbers, line by line.

Pages may not evaluate text as code; so the rule's source is parsed here, and the page walks the tree.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from talweg_core.optimizers.coordinate import CoordinateOptimizer

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
