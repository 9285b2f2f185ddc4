"""Rules written for one coordinate, compiled into one pass over (run, coordinate)."""

import inspect
import linecache
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from operator import is_
from types import FunctionType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from talweg_core.compilation import Kernel, ready, specialise
from talweg_core.layout import Layout
from talweg_core.optimizers.base import (
    BoundOptimizer,
    Flags,
    Hyperparameters,
    Needs,
    Numbers,
    Optimizer,
    Situation,
)


@dataclass(frozen=True)
class CoordinateOptimizer(Optimizer):
    """An optimizer whose rule for one coordinate reads that coordinate alone.

    A subclass names its `state` and defines two static methods. `scalars(h, k)` computes the numbers of this step, each
    (R,) in float64, from the hyperparameters h, each (R,), and the number k (R,) of earlier updates.
    `rule(gradient, [parameter,] *state, **scalars)` takes one coordinate of each, in the run's precision, and returns
    the update and the new state. Numbers such as 1 − β are scalars: a literal 1 in the rule would make Numba compute in
    float64.

    `numbers` names the state that is one number for each run, with its initial value: `scalars` reads it (R,) as
    h.<name>, and the scalar that it returns under that name is the next value.
    """

    needs: ClassVar[Needs] = "coordinates"
    state: ClassVar[tuple[str, ...]] = ()
    numbers: ClassVar[dict[str, float]] = {}
    rule: ClassVar[Callable[..., Any]]

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """The numbers (R,) that the rule takes in addition to gradient and state."""
        return dict(h.values)

    @classmethod
    def initial_state(cls, name: str, h: Hyperparameters) -> "float | Numbers":
        """The initial value of a state: one number, or one for each run."""
        return 0.0

    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """Bind to R runs of P coordinates."""
        return BoundCoordinates(type(self), hyperparameters, layout.size, dtype)


# The most steps whose scalars are computed at once, and the most runs × steps.
_AHEAD, _NUMBERS = 256, 16384


class BoundCoordinates(BoundOptimizer):
    """A rule for one coordinate, bound to (R, P) arrays."""

    def __init__(self, kind: type[CoordinateOptimizer], h: Hyperparameters, size: int, dtype: np.dtype[Any]) -> None:
        """Allocate the state, with the initial values of `kind`."""
        self._kernel, self._names = compiled(kind)
        self._scalars = kind.scalars
        self.state: dict[str, NDArray[Any]] = {}
        for name in kind.state:
            start = np.broadcast_to(np.asarray(kind.initial_state(name, h)), (h.runs,))
            self.state[name] = np.repeat(start[:, None], size, axis=1).astype(dtype)
        self._rows = tuple(self.state.values())
        self._carried: dict[str, Numbers] = {name: np.full(h.runs, first) for name, first in kind.numbers.items()}
        self.state |= self._carried
        most = max(1, min(_AHEAD, _NUMBERS // h.runs))
        self._buffer = np.empty((most, len(self._names), h.runs), dtype)
        # The update counts (one row for each step) and learning rates for which the buffer was computed, the number of
        # its steps, and the index of the step used last.
        self._counts: bytes = b""
        self._learning_rates: bytes = b""
        self._steps: int = 0
        self._used: int = 0
        # The arrays of the previous step, and the kernel with them bound: mostly they are the cohort's, at every step.
        self._arrays: tuple[Any, ...] = (None, None, None)
        self._call: Callable[[int], None] | None = None

    def update(self, situation: Situation) -> None:
        """One pass over memory."""
        h = situation.hyperparameters
        if self._carried:
            h = h | self._carried
            scalars = self._scalars(h, situation.updates)
            self._write(scalars, 1)
            row = 0
        else:
            scalars = {}
            row = self._row_of_scalars(h, situation.updates, situation.active)
        arrays = situation.active, situation.parameters, situation.gradient
        if not all(map(is_, arrays, self._arrays)):
            self._arrays, self._call = arrays, None
            self._kernel(*arrays, self._rows, self._buffer, row)
        else:
            self._call = self._call or ready(self._kernel, *arrays, self._rows, self._buffer, integers=1)
            self._call(row)
        for name, numbers in self._carried.items():
            np.copyto(numbers, scalars[name], where=situation.active)

    def _row_of_scalars(self, h: Hyperparameters, updates: Numbers, active: Flags) -> int:
        """The row of the buffer with the scalars of this step; computes it if the buffer does not hold it.

        Without `numbers`, the scalars depend on the learning rate and the update count alone, and mostly the next step
        has the same rate and one more update. So the scalars of several steps are computed at once, as those of further
        runs; a run's scalars do not depend on other runs. The number of steps is multiplied by four each time that all
        were used, and reset to one where the rate or the counts differ.
        """
        counts, rates = updates.tobytes(), h.values["learning_rate"].tobytes()
        self._used += 1
        if rates == self._learning_rates:
            if self._used < self._steps and self._counts.startswith(counts, self._used * len(counts)):
                return self._used
            steps = min(4 * self._steps, len(self._buffer)) if self._used == self._steps else 1
        else:
            steps = 1
        ahead = updates + np.arange(steps)[:, None] * active
        self._write(self._scalars(h.repeated(steps), ahead.ravel()), steps)
        self._counts, self._learning_rates, self._steps, self._used = ahead.tobytes(), rates, steps, 0
        return 0

    def _write(self, scalars: dict[str, Numbers], steps: int) -> None:
        _, _, runs = self._buffer.shape
        for k, name in enumerate(self._names):
            self._buffer[:steps, k] = np.broadcast_to(scalars[name], (steps * runs,)).reshape(steps, runs)


@cache
def compiled(kind: type[CoordinateOptimizer]) -> tuple[Kernel, tuple[str, ...]]:
    """The compiled loop of a rule, and the names of its scalars, in order."""
    arguments = list(inspect.signature(kind.rule).parameters)
    names = tuple(n for n in arguments if n not in {"gradient", "parameter", *kind.state})
    loop = _loop(kind.name, arguments, kind.state, names)
    return specialise(loop, rule=kind.rule), names


def _loop(name: str, arguments: list[str], state: tuple[str, ...], scalars: tuple[str, ...]) -> FunctionType:
    """The loop over runs and coordinates that calls a rule with these arguments.

    Numba has no fast loop over the arrays of a tuple, so the source of the loop is generated for the arguments. It
    contains only identifiers that Python has already parsed.
    """
    element = {"gradient": "g[i]", "parameter": "p[i]"} | {s: f"{s}_row[i]" for s in state} | {s: s for s in scalars}
    # With a trailing comma, so that a rule without state also returns a tuple.
    results = "".join(f"{result}, " for result in ["update", *(f"{s}_row[i]" for s in state)])
    lines = [
        "def loop(active, parameters, gradient, state, ahead, row):",
        "    scalars = ahead[row]",
        "    for r in range(parameters.shape[0]):",
        "        if active[r]:",
        "            p, g = parameters[r], gradient[r]",
        *(f"            {s}_row = state[{k}][r]" for k, s in enumerate(state)),
        *(f"            {s} = scalars[{k}, r]" for k, s in enumerate(scalars)),
        "            for i in range(p.size):",
        f"                {results}= rule({', '.join(element[a] for a in arguments)})",
        "                p[i] += update",
    ]
    text = "\n".join(lines) + "\n"
    filename = f"<{name} over runs and coordinates>"
    # So that tracebacks and Numba's errors show the source.
    linecache.cache[filename] = (len(text), None, lines, filename)
    space: dict[str, Any] = {}
    exec(compile(text, filename, "exec"), space)  # noqa: S102  # generated above
    loop = space["loop"]
    assert isinstance(loop, FunctionType)
    return loop
