"""Optimizers of PyTorch: `torch.optim`, pytorch_optimizer, and a user's own subclass of torch.optim.Optimizer.

Each run has its own PyTorch optimizer, on tensors that share the memory of our arrays. What it keeps between steps is
found by some steps on a copy, and is laid out as arrays with one row for each run, so that checkpoints hold it.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from types import ModuleType
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from talweg.libraries.arguments import LibraryOptimizer, make_class
from talweg_core.layout import Array, Layout
from talweg_core.optimizers import BoundOptimizer, Hyperparameters, Optimizer, Situation
from talweg_core.optimizers.brought import UnusableRule

# Switches between implementations of the same rule.
_LEFT_OUT: Final = frozenset({"self", "params", "foreach", "fused", "capturable", "differentiable", "maximize"})
# Steps on a copy: enough for rules that begin to average or to precondition later.
_TRIED: Final = 12
_KINDS: Final = {torch.float32: "float32", torch.float64: "float64", torch.bool: "bool"}
Path = tuple[Any, ...]


def classes(module: ModuleType) -> dict[str, Any]:
    """The optimizers of a module by name."""
    return {
        name: kind
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
    }


@cache
def adapt(kind: Any, name: str) -> type[Optimizer]:
    """The optimizer of ours that steps a class of PyTorch's; raises UnusableRule."""
    from importlib.metadata import version

    package = "pytorch_optimizer" if name.startswith("pytorch_optimizer:") else "torch"
    # A build such as 2.13.0+cpu computes what 2.13.0 computes on a CPU.
    return make_class(TorchOptimizer, kind, name, version(package).partition("+")[0], _LEFT_OUT)


@dataclass(frozen=True)
class TorchOptimizer(LibraryOptimizer):
    """An optimizer of PyTorch."""

    @classmethod
    def try_arguments(cls, arguments: dict[str, Any]) -> None:
        """Make the optimizer for one matrix."""
        make(cls.factory, [torch.nn.Parameter(torch.zeros(2, 2))], arguments)

    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """Bind to R runs, each with a PyTorch optimizer of its own."""
        # Bits must not depend on how many threads share a sum.
        torch.set_num_threads(1)
        return _BoundTorch(type(self), hyperparameters, layout, dtype)


def make(factory: Callable[..., Any], parameters: list[Any], arguments: dict[str, Any]) -> Any:
    """The optimizer of these parameters; Muon and its relatives get the matrices apart from the rest."""
    groups: list[Any] = parameters
    if "use_muon" in _source(factory):
        groups = [
            {"params": [p for p in parameters if (p.ndim >= 2) is matrices], "use_muon": matrices}
            for matrices in (True, False)
        ]
        groups = [group for group in groups if group["params"]]
    return factory(groups, **arguments)


@cache
def _source(factory: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(factory)
    except (OSError, TypeError):
        # A user's class is not in a file.
        return ""


@dataclass(frozen=True)
class _Entry:
    """One value that an optimizer keeps and changes: a tensor or a number, where it is, and in which array.

    path: ("state", k, key, …) of tensor k, ("all", key, …), ("group", g, key, …) or ("self", key, …). `position` is its
    part of the array's row; `shape` is None for a Python number, which has the type `kind`. An entry that is not
    `early` comes in a later step. `stride` is a tensor's, which matrix products' bits depend on.
    """

    path: Path
    array: str
    position: slice
    shape: tuple[int, ...] | None
    kind: Any
    early: bool
    stride: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Plan:
    """Everything that an optimizer keeps.

    Attributes:
        arrays: for the entries by name: the shape of a row, and the dtype.
        constant: paths of settings that no step changes.
        frames: for each tensor, the dict that the optimizer keeps for it, with its lists and words but without values.
        random: whether the rule draws random numbers.
    """

    entries: tuple[_Entry, ...]
    arrays: dict[str, tuple[tuple[int, ...], str]]
    constant: frozenset[Path]
    frames: tuple[dict[Any, Any], ...]
    random: bool


class _BoundTorch(BoundOptimizer):
    def __init__(self, kind: type[LibraryOptimizer], h: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> None:
        self._kind, self._layout, self._dtype = kind, layout, dtype
        self._arguments = [kind.of_run(h, row) for row in range(h.runs)]
        text = tuple(sorted(self._arguments[0].items()))
        self._plan = _planned(kind, text, layout.names, layout.shapes, dtype.name)
        self.state: dict[str, NDArray[Any]] = {
            name: np.zeros((h.runs, *shape), found) for name, (shape, found) in self._plan.arrays.items()
        }
        self._live: list[_Live | None] = [None] * h.runs

    def update(self, situation: Situation) -> None:
        for row in np.flatnonzero(situation.active):
            self._step(int(row), situation)

    def restored(self, row: int) -> None:
        self._live[row] = None

    def _step(self, row: int, situation: Situation) -> None:
        fresh, live = situation.updates[row] == 0, self._live[row]
        own = {name: array[row] for name, array in self.state.items()}
        if live is None or fresh:
            live = self._live[row] = _Live(self._kind, self._layout.shapes, self._dtype, self._arguments[row])
            if fresh:
                for array in own.values():
                    array[...] = 0
            else:
                live.read(self._plan, own)
        rate = float(situation.hyperparameters.learning_rate[row])
        if self._plan.random:
            seed = int(situation.evaluations.probe(row).integers(2**32))
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002  # the library draws from it
        parameters = self._views(situation.parameters[row])
        live.step(rate, parameters, self._views(situation.gradient[row]), self._closure(row, situation, live))
        live.write(self._plan, own)

    def _views(self, values: Array) -> list[torch.Tensor]:
        """Tensors on the memory of `values` (P,)."""
        return [torch.from_numpy(tensor) for tensor in self._layout.tensors(values).values()]

    def _closure(self, row: int, situation: Situation, live: "_Live") -> Callable[[], torch.Tensor]:
        def closure() -> torch.Tensor:
            """The cost at the present parameters; its gradient is put into the parameters' grad."""
            points = situation.parameters.copy()
            for view, parameter in zip(self._views(points[row]), live.parameters, strict=True):
                view.copy_(parameter.detach())
            costs, gradient = situation.evaluations.gradient(points, np.arange(len(points)) == row)
            for parameter, found in zip(live.parameters, self._views(gradient[row]), strict=True):
                parameter.grad = found.clone()
            return torch.tensor(float(costs[row]))

        return closure


class _Live:
    """A PyTorch optimizer of one run.

    It has tensors of its own: PyTorch's matrix products have other bits on memory that is aligned in another way, as
    the rows of a cohort are, and some rules change the gradient in place. The copies take a few microseconds.
    """

    def __init__(
        self, kind: type[LibraryOptimizer], shapes: tuple[Any, ...], dtype: np.dtype[Any], arguments: dict[str, Any]
    ) -> None:
        self._name = kind.name
        own = getattr(torch, dtype.name)
        self.parameters = [torch.nn.Parameter(torch.zeros(shape, dtype=own)) for shape in shapes]
        self.optimizer = make(kind.factory, self.parameters, arguments)
        # Some rules begin with another rate than the one that they were given.
        self._rate = float(arguments["lr" if "lr" in arguments else "learning_rate"])
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._scheduled = False
        if callable(train := getattr(self.optimizer, "train", None)):
            train()
        first = next(iter(inspect.signature(self.optimizer.step).parameters.values()), None)
        self._asks = first is not None and first.default is inspect.Parameter.empty
        # Of each entry that is there: the dict or list that holds it, and its key in that.
        self._slots: list[tuple[_Entry, Any, Any]] = []
        self._counts: list[int] = []

    def step(
        self, rate: float, parameters: list[torch.Tensor], gradient: list[torch.Tensor], closure: Callable[[], Any]
    ) -> None:
        """One step, which changes `parameters` in place."""
        self._scheduled = self._scheduled or rate != self._rate
        if self._scheduled:
            for group, own in zip(self.optimizer.param_groups, self._rates, strict=True):
                group["lr"] = rate if own == self._rate else own * (rate / self._rate)
        for parameter, outside, found in zip(self.parameters, parameters, gradient, strict=True):
            parameter.data.copy_(outside)
            parameter.grad = found.clone()
        if self._asks:
            self.optimizer.step(closure)
        else:
            self.optimizer.step()
        for parameter, outside in zip(self.parameters, parameters, strict=True):
            outside.copy_(parameter.detach())

    def kept(self) -> Iterator[tuple[Path, Any]]:
        """Every tensor and number that the optimizer keeps, with its path."""
        for k, parameter in enumerate(self.parameters):
            yield from _walk(("state", k), self.optimizer.state.get(parameter, {}), self._name)
        for key, value in self.optimizer.state.items():
            if isinstance(key, str):
                yield from _walk(("all", key), value, self._name)
        for g, group in enumerate(self.optimizer.param_groups):
            for key, value in group.items():
                if key not in ("params", "initial_lr"):
                    yield from _walk(("group", g, key), value)
        for key, value in vars(self.optimizer).items():
            if not key.startswith("_") and key not in ("defaults", "state", "param_groups"):
                yield from _walk(("self", key), value)

    def read(self, plan: _Plan, arrays: dict[str, NDArray[Any]]) -> None:
        """Continue from these arrays, each of one run's row."""
        for parameter, frame in zip(self.parameters, plan.frames, strict=True):
            if frame:
                self.optimizer.state[parameter].update(_emptied(frame))
        late = iter(arrays.get("present", np.empty(0, np.bool_)))
        for entry in plan.entries:
            if entry.early or bool(next(late)):
                self._put(entry, _value(entry, arrays))
            elif entry.path[0] == "state":
                self.optimizer.state[self.parameters[entry.path[1]]].pop(entry.path[2], None)

    def write(self, plan: _Plan, arrays: dict[str, NDArray[Any]]) -> None:
        """Write what the optimizer keeps into the arrays; raises UnusableRule for what has no place there."""
        if self._counts != (counts := self._count()):
            self._find_slots(plan, arrays)
            self._counts = counts
        for entry, holder, key in self._slots:
            value, part = holder[key], arrays[entry.array][entry.position]
            if isinstance(value, torch.Tensor) is (entry.shape is None):
                raise UnusableRule(f"{self._name}: {_shown(entry.path)} must stay a tensor, or a number")
            if entry.shape is None:
                part[0] = value
            elif tuple(value.shape) != entry.shape:
                text = f"{_shown(entry.path)} must keep its shape {entry.shape}, got {tuple(value.shape)}"
                raise UnusableRule(f"{self._name}: {text}")
            else:
                torch.from_numpy(part).copy_(value.detach().reshape(-1))

    def _count(self) -> list[int]:
        held = [self.optimizer.state.get(parameter, ()) for parameter in self.parameters]
        return [len(one) for one in (*held, self.optimizer.state, *self.optimizer.param_groups, vars(self.optimizer))]

    def _find_slots(self, plan: _Plan, arrays: dict[str, NDArray[Any]]) -> None:
        found = dict(self.kept())
        known = {entry.path for entry in plan.entries} | plan.constant
        if unknown := found.keys() - known:
            raise UnusableRule(
                f"{self._name}: keeps {_shown(min(unknown, key=str))}, which it did not in its first {2 * _TRIED} steps"
            )
        self._slots = [(entry, *self._holder(entry)) for entry in plan.entries if entry.path in found]
        if late := [entry.path in found for entry in plan.entries if not entry.early]:
            arrays["present"][:] = late

    def _holder(self, entry: _Entry) -> tuple[Any, Any]:
        """The dict or list that holds an entry, and its key in that."""
        holder, rest = self._root(entry.path)
        for key in rest[:-1]:
            holder = holder[key]
        return holder, rest[-1]

    def _root(self, path: Path) -> tuple[Any, list[Any]]:
        """The dict that the path begins in, and the rest of the path."""
        where, *rest = path
        if where == "state":
            return self.optimizer.state[self.parameters[rest[0]]], rest[1:]
        if where == "group":
            return self.optimizer.param_groups[rest[0]], rest[1:]
        return (self.optimizer.state if where == "all" else vars(self.optimizer)), rest

    def _put(self, entry: _Entry, value: Any) -> None:
        """Put a value where the optimizer keeps it, with the lists and dicts around it."""
        holder, rest = self._root(entry.path)
        for key, following in pairwise(rest):
            inner: Any = [] if isinstance(following, int) else {}
            if isinstance(holder, list):
                holder += [inner] * (key + 1 - len(holder))
            elif key not in holder:
                holder[key] = inner
            if isinstance(holder[key], tuple):
                # A pair of numbers or tensors, such as betas that a rule changes.
                holder[key] = list(holder[key])
            holder = holder[key]
        if isinstance(holder, list):
            holder += [None] * (rest[-1] + 1 - len(holder))
        holder[rest[-1]] = value


def _walk(path: Path, value: Any, name: str | None = None) -> Iterator[tuple[Path, Any]]:
    """The tensors and numbers in nested dicts and lists; with `name`, raises UnusableRule for another object."""
    if isinstance(value, torch.Tensor | int | float):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _walk((*path, key), inner, name)
    elif isinstance(value, list | tuple):
        for key, inner in enumerate(value):
            yield from _walk((*path, key), inner, name)
    elif name is not None and not (value is None or isinstance(value, str)):
        raise UnusableRule(f"{name}: keeps {_shown(path)}, a {type(value).__name__}, which no checkpoint can hold")


def _emptied(value: Any) -> Any:
    """A copy of nested dicts and lists with 0 in place of tensors and numbers."""
    if isinstance(value, dict):
        return {key: _emptied(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_emptied(inner) for inner in value)
    return 0 if isinstance(value, torch.Tensor | int | float) else value


def _shown(path: Path) -> str:
    return ".".join(str(part) for part in path[1:] if not isinstance(part, int)) or str(path)


def _value(entry: _Entry, arrays: dict[str, NDArray[Any]]) -> Any:
    """The tensor or number of an entry, from the arrays."""
    part = arrays[entry.array][entry.position]
    if entry.shape is None:
        return entry.kind(part[0])
    made = torch.empty_strided(entry.shape, entry.stride, dtype=entry.kind)
    return made.copy_(torch.from_numpy(part).reshape(entry.shape))


@lru_cache(maxsize=64)
def _planned(
    kind: type[LibraryOptimizer],
    arguments: tuple[Any, ...],
    names: tuple[str, ...],
    shapes: tuple[Any, ...],
    dtype: str,
) -> _Plan:
    """What the optimizer keeps, found by steps on a copy.

    Raises:
        UnusableRule: It makes no step here, what it keeps grows, or a restored copy goes on with other bits.
    """
    kept, numpys = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002  # what the library draws from
    try:
        return _Trial(kind, dict(arguments), Layout(names, shapes), dtype).plan()
    except UnusableRule:
        raise
    # The library may raise anything.
    except Exception as error:
        text = (str(error).strip().splitlines() or [""])[0]
        raise UnusableRule(f"{kind.name}: cannot make a step here: {type(error).__name__}: {text}") from error
    finally:
        torch.set_rng_state(kept)
        np.random.set_state(numpys)  # noqa: NPY002


class _Trial:
    """Steps of an optimizer with random gradients, on parameters of the layout."""

    def __init__(self, kind: type[LibraryOptimizer], arguments: dict[str, Any], layout: Layout, dtype: str) -> None:
        self._kind, self._arguments, self._layout, self._dtype = kind, arguments, layout, np.dtype(dtype)
        self._draw = np.random.Generator(np.random.Philox(0))
        self._rate = float(arguments["lr" if "lr" in arguments else "learning_rate"])
        self._curvatures = [tensor.abs() + 0.1 for tensor in self._drawn()]

    def plan(self) -> _Plan:
        """What the optimizer keeps."""
        live, point = self._live(), self._drawn()
        found = dict(live.kept())
        first, changed, early, sizes = _numbers(found), set(), None, []
        before = _seeds()
        for _ in range(2 * _TRIED):
            self._step(live, point, self._drawn())
            now = dict(live.kept())
            early = set(now) if early is None else early & set(now)
            changed |= {path for path, value in _numbers(now).items() if first.setdefault(path, value) != value}
            found |= now
            sizes.append(len(found))
        random = before != _seeds()
        if sizes[-1] != sizes[_TRIED - 1]:
            raise UnusableRule(
                f"{self._kind.name}: what it keeps grows with the steps, which no checkpoint of fixed size holds"
            )
        # Settings that no step changes.
        settings = {*self._kind.arguments, *_LEFT_OUT}
        constant = frozenset(
            path
            for path in _numbers(found)
            if path[0] in ("group", "self")
            and path not in changed
            and (path[2 if path[0] == "group" else 1] in settings or isinstance(found[path], bool))
        )
        varying = {path: value for path, value in found.items() if path not in constant}
        entries, arrays = _laid_out(varying, early or set(), self._layout, self._dtype.name)
        grown = [one.path for one in entries if not one.early and any(isinstance(part, int) for part in one.path[3:])]
        if grown:
            raise UnusableRule(
                f"{self._kind.name}: the list {_shown(grown[0])} grows with the steps, which no checkpoint of fixed "
                "size holds"
            )
        frames = tuple(_emptied(live.optimizer.state.get(parameter, {})) for parameter in live.parameters)
        plan = _Plan(entries, arrays, constant, frames, random)
        self._check_restored(plan, live, point)
        return plan

    def _check_restored(self, plan: _Plan, live: "_Live", point: list[torch.Tensor]) -> None:
        """Raise UnusableRule unless copies that are restored at several steps go on with the same bits."""
        arrays = {name: np.zeros(shape, held) for name, (shape, held) in plan.arrays.items()}
        together = [(live, point)]
        for step in range(_TRIED):
            live.write(plan, arrays)
            copy = self._live()
            copy.read(plan, arrays)
            together.append((copy, [tensor.clone() for tensor in point]))
            gradient = self._drawn()
            for one, where in together:
                torch.manual_seed(step)
                np.random.seed(step)  # noqa: NPY002
                self._step(one, where, gradient)
            for _, where in together:
                if not all(torch.equal(one, two) for one, two in zip(point, where, strict=True)):
                    raise UnusableRule(f"{self._kind.name}: a copy restored from what it keeps goes on with other bits")

    def _live(self) -> "_Live":
        return _Live(self._kind, self._layout.shapes, self._dtype, self._arguments)

    def _step(self, live: "_Live", point: list[torch.Tensor], gradient: list[torch.Tensor]) -> None:
        def closure() -> torch.Tensor:
            """A quadratic with another minimum at each step, for rules that evaluate the cost themselves."""
            total = torch.zeros(())
            for parameter, curvature, slope in zip(live.parameters, self._curvatures, gradient, strict=True):
                at = parameter.detach()
                parameter.grad = curvature * at + slope
                total = total + (at * (0.5 * curvature * at + slope)).sum()
            return total

        live.step(self._rate, point, gradient, closure)

    def _drawn(self) -> list[torch.Tensor]:
        return [
            torch.from_numpy(np.asarray(self._draw.normal(size=shape), dtype=self._dtype))
            for shape in self._layout.shapes
        ]


def _seeds() -> tuple[Any, ...]:
    numpys: Any = np.random.get_state()  # noqa: NPY002  # what the library draws from
    keys, position = numpys[1:3]
    return torch.get_rng_state().numpy().tobytes(), keys.tobytes(), position


def _numbers(found: dict[Path, Any]) -> dict[Path, Any]:
    return {path: value for path, value in found.items() if not isinstance(value, torch.Tensor)}


def _laid_out(
    found: dict[Path, Any], early: set[Path], layout: Layout, dtype: str
) -> tuple[tuple[_Entry, ...], dict[str, tuple[tuple[int, ...], str]]]:
    """Arrays for the kept values: (P,) for a tensor like each parameter, (T,) for a number of each, else its own."""
    entries: list[_Entry] = []
    arrays: dict[str, tuple[tuple[int, ...], str]] = {}
    for path in sorted(found, key=_order):
        value, of_tensor = found[path], path[0] == "state"
        key = ".".join(map(str, path[2:] if path[0] in ("state", "group") else path[1:]))
        mine = path[1] if of_tensor else 0
        tensor = isinstance(value, torch.Tensor)
        held = _held(value.dtype) if tensor else "float64"
        size = value.numel() if tensor else 1
        name, shape, position = key, (size,), slice(0, size)
        if of_tensor and tensor and tuple(value.shape) == layout.shapes[mine] and held == dtype:
            shape, position = (layout.size,), layout.slice(layout.names[mine])
        elif of_tensor and size == 1:
            name, shape, position = f"{key}.each", (len(layout.names),), slice(mine, mine + 1)
        elif of_tensor:
            name = f"{key}.{layout.names[mine]}"
        while name in arrays and arrays[name] != (shape, held):
            name += "′"
        arrays[name] = shape, held
        own = tuple(value.shape) if tensor else None
        kind = value.dtype if tensor else type(value)
        entries.append(_Entry(path, name, position, own, kind, path in early, value.stride() if tensor else ()))
    late = sum(not entry.early for entry in entries)
    return tuple(entries), arrays | ({"present": ((late,), "bool")} if late else {})


def _order(path: Path) -> list[tuple[bool, int, str]]:
    """A key to sort paths by: positions in lists as numbers."""
    return [(isinstance(part, str), part if isinstance(part, int) else 0, str(part)) for part in path]


def _held(dtype: torch.dtype) -> str:
    """The dtype of our array for a tensor."""
    return _KINDS.get(dtype) or ("float32" if dtype.is_floating_point else "int64")
