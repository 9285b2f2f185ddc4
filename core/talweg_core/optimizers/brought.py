"""Optimizers that users write in a file or a notebook cell: loaded from their source, with their contract checked."""

import dataclasses
import difflib
import inspect
import linecache
import math
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg_core.errors import EngineError
from talweg_core.layout import Array, Layout
from talweg_core.optimizers.base import BoundOptimizer, Hyperparameters, Interval, Numbers, Optimizer, Situation
from talweg_core.optimizers.coordinate import CoordinateOptimizer
from talweg_core.optimizers.source import digest_of, entry_of

_ANY = Interval(-math.inf, math.inf, "()")


class UnusableRule(EngineError):
    """A user's optimizer breaks its contract; the message names the class, the rule and the line."""


@cache
def load(source: str, name: str) -> Any:
    """The class, or function, of a source from `talweg_core.optimizers.source`; a subclass of Optimizer gets `name`.

    The source is executed: it must come from a user whom the caller trusts. Equal sources are loaded once.

    Raises:
        UnusableRule: It cannot be imported here, or the class breaks the contract of optimizers.
    """
    entry, module = entry_of(source), ModuleType(f"talweg_rule_{digest_of(source)[:16]}")
    filename = f"<{name}>"
    # So that tracebacks show the source.
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, filename, "exec"), vars(module))  # noqa: S102  # only what the local user stored
    # The source may raise anything.
    except Exception as error:
        del sys.modules[module.__name__]
        at = _line(error, filename)
        raise UnusableRule(f"{entry}{at}: cannot be imported here: {type(error).__name__}: {error}") from error
    found = getattr(module, entry)
    return complete(found, name) if isinstance(found, type) and issubclass(found, Optimizer) else found


def complete(kind: type[Optimizer], name: str) -> type[Optimizer]:
    """Make `kind` a whole optimizer, in place: a frozen dataclass with ranges, its name, guarded state; returns it.

    Raises:
        UnusableRule: It breaks the contract.
    """
    _require(kind, "learning_rate" in kind.__dataclass_fields__, "must have the hyperparameter learning_rate")
    if inspect.isabstract(kind):
        missing = ", ".join(sorted(kind.__abstractmethods__))
        raise UnusableRule(
            f"{kind.__name__}: must define {missing}, as a subclass of Optimizer; or subclass CoordinateOptimizer"
        )
    if "__dataclass_params__" not in vars(kind):
        for field, value in list(vars(kind).items()):
            annotated = vars(kind).get("__annotations__", {})
            if field not in annotated and isinstance(value, float):
                raise UnusableRule(
                    f"{kind.__name__}: {field} = {value} must have its type, to be a hyperparameter: "
                    f"{field}: float = {value}"
                )
        try:
            kind = dataclass(frozen=True)(kind)
        except (TypeError, ValueError) as error:
            raise UnusableRule(f"{kind.__name__}: cannot be a dataclass: {error}") from error
    for field_ in dataclasses.fields(kind):
        if "range" not in field_.metadata and field_.name != "around":
            field_.metadata = MappingProxyType(_range(kind, field_))
    kind.name = name
    if not hasattr(kind, "needs"):
        kind.needs = "tensors"
    if issubclass(kind, CoordinateOptimizer):
        _check_coordinate(kind)
    else:
        kind.bind_rule = _guarded(kind.bind_rule)  # type: ignore[method-assign]  # this copy of the class alone
    try:
        kind()
    except EngineError as error:
        raise UnusableRule(f"{kind.__name__}: its defaults must be valid: {error}") from error
    return kind


def _range(kind: type[Optimizer], field: "dataclasses.Field[Any]") -> dict[str, Any]:
    """The metadata of a hyperparameter that was written without a range."""
    if isinstance(field.default, bool):
        return {"range": None, "shared": True}
    if isinstance(field.default, int | float):
        return {"range": _ANY}
    raise UnusableRule(
        f"{kind.__name__}: the hyperparameter {field.name} must have a number, true or false as its default, "
        f"or be made by choice(…); got {field.default!r}"
    )


def _check_coordinate(kind: type[CoordinateOptimizer]) -> None:
    name, rule = kind.__name__, getattr(kind, "rule", None)
    if not inspect.isfunction(rule):
        raise UnusableRule(f"{name}: must define rule(gradient, *state, **scalars), the update of one coordinate")
    arguments = list(inspect.signature(rule).parameters)
    _require(kind, "self" not in arguments, "rule takes no self: it is compiled, and gets numbers only", rule)
    state = kind.state
    right = isinstance(state, tuple) and all(isinstance(one, str) and one.isidentifier() for one in state)
    _require(kind, right, f"state must be a tuple of names such as ('m',), got {state!r}")
    _require(kind, "gradient" in arguments, f"rule must take gradient, got {', '.join(arguments)}", rule)
    for one in state:
        _require(kind, one in arguments, f"rule must take its state {one}, got {', '.join(arguments)}", rule)
    if vars(kind).get("scalars") is not None and inspect.isfunction(vars(kind)["scalars"]):
        # Written without @staticmethod.
        kind.scalars = staticmethod(kind.scalars)  # type: ignore[method-assign]
    if not isinstance(inspect.getattr_static(kind, "rule"), staticmethod):
        kind.rule = staticmethod(rule)
    try:
        made = kind()
        known = kind.scalars(Hyperparameters([made]) | _first(kind), np.zeros(1))
    except EngineError:
        raise
    except Exception as error:
        raise UnusableRule(f"{name}: scalars failed: {type(error).__name__}: {error}") from error
    for one in arguments:
        if one not in {"gradient", "parameter", *state, *known}:
            near = difflib.get_close_matches(one, [*known, *state, "gradient", "parameter"], n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UnusableRule(
                f"{name}{_at(rule)}: rule takes {one}, which is neither gradient, parameter, state nor a "
                f"hyperparameter{hint}"
            )


def _first(kind: type[CoordinateOptimizer]) -> dict[str, Numbers]:
    return {name: np.array([float(value)]) for name, value in kind.numbers.items()}


def _require(kind: type, holds: bool, rule: str, function: Callable[..., Any] | None = None) -> None:
    if not holds:
        raise UnusableRule(f"{kind.__name__}{_at(function) if function else ''}: {rule}")


def _at(function: Callable[..., Any]) -> str:
    return f", line {function.__code__.co_firstlineno}"


def _line(error: BaseException, filename: str) -> str:
    """`, line 7` where the traceback passes through that file; for its last frame there."""
    numbers = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == filename]
    if isinstance(error, SyntaxError) and error.filename == filename:
        numbers.append(error.lineno)
    return f", line {numbers[-1]}" if numbers else ""


def filename_of(kind: type[Optimizer]) -> str:
    """The file name of the class's code, as in tracebacks."""
    if "@" in kind.name:
        return f"<{kind.name}>"
    own: Any = kind.rule if issubclass(kind, CoordinateOptimizer) else inspect.unwrap(kind.bind_rule)
    return str(own.__code__.co_filename)


def try_out(kind: type[Optimizer]) -> None:
    """Compile the rule, and make three steps of two runs; raises UnusableRule with the line that failed."""
    # The cohort imports every problem.
    from talweg_core.cohort import Cohort
    from talweg_core.problems import create

    source = filename_of(kind)
    problem = create("two-layer-line")
    try:
        cohort = Cohort(problem, [kind(), kind()], [0, 1], batch_size=problem.examples or None)
        for _ in cohort.run(3):
            pass
    except UnusableRule:
        raise
    # The rule may raise anything; Numba's errors have many lines.
    except Exception as error:
        text = next((line for line in str(error).splitlines() if line.strip()), "")
        if type(error).__module__.startswith("numba"):
            raise UnusableRule(f"{kind.__name__}: its rule cannot be compiled: {_compiler_says(str(error))}") from error
        raise UnusableRule(f"{kind.__name__}{_line(error, source)}: {type(error).__name__}: {text}") from error


def _compiler_says(text: str) -> str:
    """The reason and the line in one of Numba's errors."""
    lines = [line.strip() for line in text.splitlines()]
    reasons = [
        line for line in lines if line and not line.startswith(("Failed in", "File", "-", "During", ">>>", "def "))
    ]
    places = re.findall(r"<[^>]+> \(?(\d+)\)?", text) or re.findall(r"line (\d+)", text)
    return f"{(reasons or lines)[0][:200]}" + (f" (line {places[-1]})" if places else "")


class Guarded(BoundOptimizer):
    """A user's bound rule, kept to the contract: the gradient cannot be written, state keeps its arrays and shapes.

    A state array that the rule replaced is copied into the first one, since checkpoints and wrappers refer to that.
    Runs that are not active keep their parameters and state, whatever the rule writes.
    """

    def __init__(self, inner: BoundOptimizer, name: str) -> None:
        """Around `inner`, of the optimizer `name`."""
        self.inner, self._name = inner, name
        state = getattr(inner, "state", None)
        if not isinstance(state, dict) or not all(isinstance(array, np.ndarray) for array in state.values()):
            raise UnusableRule(f"{name}: bind_rule must return a rule with state, a dict of arrays, got {state!r}")
        self.state: dict[str, NDArray[Any]] = dict(state)

    def update(self, situation: Situation) -> None:
        """One update."""
        gradient = situation.gradient.view()
        gradient.flags.writeable = False
        resting = np.flatnonzero(~situation.active)
        kept = [
            (array, array[resting].copy()) for array in (situation.parameters, *self.state.values()) if len(resting)
        ]
        self.inner.update(replace(situation, gradient=gradient))
        self._gather()
        for array, values in kept:
            array[resting] = values

    def restored(self, row: int) -> None:
        """Also of the rule inside."""
        self.inner.restored(row)

    def evaluation_parameters(self, parameters: Array, updates: Numbers) -> Array:
        """Those of the rule."""
        return self.inner.evaluation_parameters(parameters, updates)

    def _gather(self) -> None:
        now = self.inner.state
        if now.keys() != self.state.keys():
            raise UnusableRule(f"{self._name}: its state must keep its names {sorted(self.state)}, got {sorted(now)}")
        for key, array in self.state.items():
            found = np.asarray(now[key])
            if found is array:
                continue
            if found.shape != array.shape:
                raise UnusableRule(f"{self._name}: state {key} must keep its shape {array.shape}, got {found.shape}")
            array[:] = found
            now[key] = array


def _guarded(bind: Callable[..., BoundOptimizer]) -> Callable[..., BoundOptimizer]:
    def bind_rule(
        self: Optimizer, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]
    ) -> BoundOptimizer:
        bound = bind(self, hyperparameters, layout, dtype)
        if not isinstance(bound, BoundOptimizer):
            raise UnusableRule(f"{type(self).__name__}: bind_rule must return a BoundOptimizer, got {bound!r}")
        for key, array in getattr(bound, "state", {}).items():
            if not isinstance(array, np.ndarray) or array.shape[:1] != (hyperparameters.runs,):
                shape = getattr(array, "shape", type(array).__name__)
                raise UnusableRule(
                    f"{type(self).__name__}: state {key} must have one row for each of {hyperparameters.runs} runs, "
                    f"got {shape}"
                )
        return Guarded(bound, type(self).__name__)

    bind_rule.__wrapped__ = bind  # type: ignore[attr-defined]
    return bind_rule
