"""Rules written for one coordinate, compiled into one pass over (run, coordinate)."""

import inspect
import linecache
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from talweg_core.compilation import Kernel, specialise
from talweg_core.layout import Layout
from talweg_core.optimizers.base import BoundOptimizer, Hyperparameters, Needs, Numbers, Optimizer, Situation


@dataclass(frozen=True)
class CoordinateOptimizer(Optimizer):
    """An optimizer whose rule needs nothing but its own coordinate.

    A subclass names its `state` and gives two static methods. `scalars(h, k)` turns the hyperparameters h, each
    (R,), and the number k (R,) of updates made before into the numbers of this step, each (R,), computed in
    float64. `rule(gradient, [parameter,] *state, **scalars)` takes one coordinate of each, in the run's precision,
    and returns the update and the new state. Numbers such as 1 − β enter as scalars: a literal 1 in the rule would
    make Numba compute in float64.

    What a run carries from step to step beside its coordinates is named in `numbers`, with what it begins with:
    `scalars` finds it (R,) as h.<name>, and a scalar that it returns under that name is the next value.
    """

    needs: ClassVar[Needs] = "coordinates"
    state: ClassVar[tuple[str, ...]] = ()
    numbers: ClassVar[dict[str, float]] = {}
    rule: ClassVar[Callable[..., Any]]

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """The numbers (R,) that the rule takes beside gradient and state."""
        return dict(h.values)

    @classmethod
    def initial_state(cls, name: str, h: Hyperparameters) -> "float | Numbers":
        """What a state begins with: one number, or one a run."""
        return 0.0

    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """This rule for R runs."""
        return BoundCoordinates(type(self), hyperparameters, layout.size, dtype)


class BoundCoordinates(BoundOptimizer):
    """A rule for one coordinate, at work on (R, P)."""

    def __init__(self, kind: type[CoordinateOptimizer], h: Hyperparameters, size: int, dtype: np.dtype[Any]) -> None:
        """State begins as `kind` says."""
        self._kernel, self._names = compiled(kind)
        self._scalars = kind.scalars
        self.state: dict[str, NDArray[Any]] = {}
        for name in kind.state:
            start = np.broadcast_to(np.asarray(kind.initial_state(name, h)), (h.runs,))
            self.state[name] = np.repeat(start[:, None], size, axis=1).astype(dtype)
        self._rows = tuple(self.state.values())
        self._carried: dict[str, Numbers] = {name: np.full(h.runs, first) for name, first in kind.numbers.items()}
        self.state |= self._carried
        self._buffer = np.empty((len(self._names), h.runs), dtype)
        self._columns = tuple(self._buffer)

    def update(self, situation: Situation) -> None:
        """One pass over memory."""
        h = situation.hyperparameters
        if self._carried:
            h = h | self._carried
        scalars = self._scalars(h, situation.updates)
        for column, name in zip(self._columns, self._names, strict=True):
            column[:] = scalars[name]
        self._kernel(situation.active, situation.parameters, situation.gradient, self._rows, self._columns)
        for name, numbers in self._carried.items():
            np.copyto(numbers, scalars[name], where=situation.active)


_COMPILED: dict[type[CoordinateOptimizer], tuple[Kernel, tuple[str, ...]]] = {}


def compiled(kind: type[CoordinateOptimizer]) -> tuple[Kernel, tuple[str, ...]]:
    """The compiled loop of a rule, and the names of its scalars in order."""
    if kind not in _COMPILED:
        arguments = list(inspect.signature(kind.rule).parameters)
        names = tuple(n for n in arguments if n not in {"gradient", "parameter", *kind.state})
        loop = _loop(kind.name, arguments, kind.state, names)
        _COMPILED[kind] = specialise(loop, rule=kind.rule), names
    return _COMPILED[kind]


def _loop(name: str, arguments: list[str], state: tuple[str, ...], scalars: tuple[str, ...]) -> FunctionType:
    """The loop over runs and coordinates around a rule with these arguments.

    Numba has no cheap way to say "for each array of a tuple" within a loop, so the loop is written out for the
    arguments at hand; the text consists of identifiers that Python has parsed already.
    """
    element = {"gradient": "g[i]", "parameter": "p[i]"} | {s: f"{s}_row[i]" for s in state} | {s: s for s in scalars}
    # A trailing comma, so that a rule without state also hands out a tuple.
    results = "".join(f"{result}, " for result in ["update", *(f"{s}_row[i]" for s in state)])
    lines = [
        "def loop(active, parameters, gradient, state, scalars):",
        "    for r in range(parameters.shape[0]):",
        "        if active[r]:",
        "            p, g = parameters[r], gradient[r]",
        *(f"            {s}_row = state[{k}][r]" for k, s in enumerate(state)),
        *(f"            {s} = scalars[{k}][r]" for k, s in enumerate(scalars)),
        "            for i in range(p.size):",
        f"                {results}= rule({', '.join(element[a] for a in arguments)})",
        "                p[i] += update",
    ]
    text = "\n".join(lines) + "\n"
    filename = f"<{name} over runs and coordinates>"
    # So that a traceback and Numba's errors can show the text.
    linecache.cache[filename] = (len(text), None, lines, filename)
    space: dict[str, Any] = {}
    exec(compile(text, filename, "exec"), space)  # noqa: S102  # our own text, see above
    loop = space["loop"]
    assert isinstance(loop, FunctionType)
    return loop
