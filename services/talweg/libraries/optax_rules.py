"""Optimizers of optax: its aliases, and a user's function that returns a GradientTransformation.

Each step is one compiled call for each run. The state's arrays are ours, with one row for each run.
"""

import inspect
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final

# One thread, as for BLAS; read when JAX's backend starts.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
import optax
from jax import numpy as jnp
from numpy.typing import NDArray

from talweg.libraries.arguments import LibraryOptimizer, make_class
from talweg_core.layout import Layout
from talweg_core.optimizers import BoundOptimizer, Hyperparameters, Optimizer, Situation
from talweg_core.optimizers.brought import UnusableRule

_LEFT_OUT: Final = frozenset({"mu_dtype", "accumulator_dtype", "dtype_momentum", "mask", "weight_decay_mask"})
_HELD: Final = {"float32": "float32", "float64": "float64", "bool": "bool"}


@cache
def aliases() -> dict[str, Callable[..., Any]]:
    """optax's functions with a learning_rate, by name."""
    return {
        name: function
        for name, function in vars(optax).items()
        if inspect.isfunction(function)
        and function.__module__.startswith("optax._src.alias")
        and "learning_rate" in inspect.signature(function).parameters
    }


@cache
def adapt(function: Callable[..., Any], name: str) -> type[Optimizer]:
    """The optimizer of ours that steps a function's transformation; raises UnusableRule."""
    from importlib.metadata import version

    return make_class(OptaxOptimizer, function, name, version("optax"), _LEFT_OUT)


@dataclass(frozen=True)
class OptaxOptimizer(LibraryOptimizer):
    """An optimizer of optax."""

    @classmethod
    def try_arguments(cls, arguments: dict[str, Any]) -> None:
        """Make the transformation."""
        made = cls.factory(**arguments)
        if not isinstance(made, optax.GradientTransformation | optax.GradientTransformationExtraArgs):
            raise UnusableRule(f"{cls.name}: must return an optax GradientTransformation, got {type(made).__name__}")

    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """Bind to R runs."""
        try:
            return _BoundOptax(type(self), hyperparameters, layout, dtype)
        # The library may raise anything.
        except Exception as error:
            text = (str(error).strip().splitlines() or [""])[0]
            raise UnusableRule(f"{self.name}: cannot make a step here: {type(error).__name__}: {text}") from error


class _BoundOptax(BoundOptimizer):
    def __init__(self, kind: type[LibraryOptimizer], h: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> None:
        self._layout, self._dtype = layout, dtype
        self._precision: Callable[[], AbstractContextManager[Any]] = (
            jax.enable_x64 if dtype.name == "float64" else nullcontext
        )
        self._steps = [_step(kind.factory, _hashable(kind.of_run(h, row))) for row in range(h.runs)]
        zeros = layout.tensors(np.zeros(layout.size, dtype))
        with self._precision():
            init = self._steps[0].init
            leaves, self._tree = jax.tree_util.tree_flatten_with_path(init(_tree(zeros)))
        self._places: list[tuple[str, slice[int, int, None], tuple[int, ...], str]] = []
        self.state: dict[str, NDArray[Any]] = {}
        self._taken: set[tuple[str, int]] = set()
        for path, leaf in leaves:
            self._place(path, np.asarray(leaf), h.runs)
        self._first = [np.asarray(leaf) for _, leaf in leaves]
        with self._precision():
            # So that what the rule asks for and cannot get, such as a function of the cost, is found before the run.
            self._steps[0].check(_tree(zeros))

    def _place(self, path: Any, leaf: NDArray[Any], runs: int) -> None:
        """Choose the array for a leaf: (R, P) together with the others where it is like a parameter, else its own."""
        last = str(getattr(path[-1], "key", "")) if path else ""
        held = _HELD.get(leaf.dtype.name, "float32" if leaf.dtype.kind == "f" else "int64")
        of_tensor = last in self._layout.names
        name = ".".join(map(_word, path[:-1] if of_tensor else path))
        if of_tensor and leaf.shape == self._layout.shapes[self._layout.names.index(last)] and held == self._dtype.name:
            where, width = self._layout.slice(last), self._layout.size
        else:
            name = f"{name}.{last}" if of_tensor else name
            where, width = slice(0, leaf.size, None), leaf.size
        while (name, where.start) in self._taken:
            name += "′"
        self._taken.add((name, where.start))
        self.state.setdefault(name, np.zeros((runs, width), held))
        self._places.append((name, where, leaf.shape, leaf.dtype.name))

    def update(self, situation: Situation) -> None:
        with self._precision():
            for row in np.flatnonzero(situation.active):
                self._row(int(row), situation)

    def _row(self, row: int, situation: Situation) -> None:
        if situation.updates[row] == 0:
            leaves = self._first
        else:
            leaves = [
                self.state[name][row, where].reshape(shape).astype(kind) for name, where, shape, kind in self._places
            ]
        parameters = _tree(self._layout.tensors(situation.parameters[row]))
        gradient = _tree(self._layout.tensors(situation.gradient[row]))
        state = jax.tree_util.tree_unflatten(self._tree, [jnp.asarray(leaf) for leaf in leaves])
        rate = float(situation.hyperparameters.learning_rate[row])
        moved, state = self._steps[row].step(rate, gradient, state, parameters, float(situation.costs[row]))
        for name, view in self._layout.tensors(situation.parameters[row]).items():
            view[...] = np.asarray(moved[name])
        for leaf, (name, where, _, _) in zip(jax.tree_util.tree_leaves(state), self._places, strict=True):
            self.state[name][row, where] = np.asarray(leaf).reshape(-1)


def _word(part: Any) -> str:
    """One part of a path in optax's state: a field, a key or a position."""
    return str(getattr(part, "name", getattr(part, "key", getattr(part, "idx", part))))


def _tree(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: jnp.asarray(tensor) for name, tensor in tensors.items()}


def _hashable(arguments: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(arguments.items()))


class _Step:
    """One transformation: its init, and its compiled step for a learning rate."""

    def __init__(self, factory: Callable[..., Any], arguments: dict[str, Any]) -> None:
        self._factory, self._arguments = factory, arguments
        self._compiled: dict[float, Callable[..., Any]] = {}
        self.init: Callable[..., Any] = factory(**arguments).init

    def step(self, rate: float, gradient: Any, state: Any, parameters: Any, cost: float) -> Any:
        """The new parameters and state."""
        own = rate == self._arguments["learning_rate"]
        # With the run's own rate as a constant, as optax's user has it; a schedule's rates are an argument.
        if own and rate not in self._compiled:
            self._compiled[rate] = jax.jit(self._with(None))
        if not own and -1.0 not in self._compiled:
            self._compiled[-1.0] = jax.jit(self._with("argument"))
        return self._compiled[rate if own else -1.0](rate, gradient, state, parameters, cost)

    def check(self, parameters: Any) -> None:
        """Raise the error that a step would raise."""
        jax.eval_shape(self._with(None), 0.0, parameters, self.init(parameters), parameters, 0.0)

    def _with(self, kind: str | None) -> Callable[..., Any]:
        def step(rate: Any, gradient: Any, state: Any, parameters: Any, cost: Any) -> Any:
            changed = {} if kind is None else {"learning_rate": rate}
            made = optax.with_extra_args_support(self._factory(**self._arguments | changed))
            updates, state = made.update(gradient, state, parameters, value=cost, grad=gradient)
            return optax.apply_updates(parameters, updates), state

        return step


@lru_cache(maxsize=256)
def _step(factory: Callable[..., Any], arguments: tuple[tuple[str, Any], ...]) -> _Step:
    return _Step(factory, dict(arguments))
