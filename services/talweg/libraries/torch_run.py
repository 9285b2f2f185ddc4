"""One PyTorch optimizer of one run: its steps, and what it keeps between them as arrays.

It has tensors of its own, copied from and to ours, and an entry for each tensor or number that it keeps and changes.
`torch_plan` finds the entries.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from talweg.libraries.arguments import LibraryOptimizer
from talweg_core.optimizers.brought import UnusableRule

# Steps on a copy by which `torch_plan` finds what an optimizer keeps: enough for rules that begin to average or to
# precondition later.
TRIED: Final = 12
Path = tuple[Any, ...]


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
class Entry:
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
class Plan:
    """Everything that an optimizer keeps.

    Attributes:
        arrays: for the entries by name: the shape of a row, and the dtype.
        constant: paths of settings that no step changes.
        frames: for each tensor, the dict that the optimizer keeps for it, with its lists and words but without values.
        random: whether the rule draws random numbers.
    """

    entries: tuple[Entry, ...]
    arrays: dict[str, tuple[tuple[int, ...], str]]
    constant: frozenset[Path]
    frames: tuple[dict[Any, Any], ...]
    random: bool


class Live:
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
        self._slots: list[tuple[Entry, Any, Any]] = []
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

    def read(self, plan: Plan, arrays: dict[str, NDArray[Any]]) -> None:
        """Continue from these arrays, each of one run's row."""
        for parameter, frame in zip(self.parameters, plan.frames, strict=True):
            if frame:
                self.optimizer.state[parameter].update(emptied(frame))
        late = iter(arrays.get("present", np.empty(0, np.bool_)))
        for entry in plan.entries:
            if entry.early or bool(next(late)):
                self._put(entry, _value(entry, arrays))
            elif entry.path[0] == "state":
                self.optimizer.state[self.parameters[entry.path[1]]].pop(entry.path[2], None)

    def write(self, plan: Plan, arrays: dict[str, NDArray[Any]]) -> None:
        """Write what the optimizer keeps into the arrays; raises UnusableRule for what has no place there."""
        if self._counts != (counts := self._count()):
            self._find_slots(plan, arrays)
            self._counts = counts
        for entry, holder, key in self._slots:
            value, part = holder[key], arrays[entry.array][entry.position]
            if isinstance(value, torch.Tensor) is (entry.shape is None):
                raise UnusableRule(f"{self._name}: {shown(entry.path)} must stay a tensor, or a number")
            if entry.shape is None:
                part[0] = value
            elif tuple(value.shape) != entry.shape:
                text = f"{shown(entry.path)} must keep its shape {entry.shape}, got {tuple(value.shape)}"
                raise UnusableRule(f"{self._name}: {text}")
            else:
                torch.from_numpy(part).copy_(value.detach().reshape(-1))

    def _count(self) -> list[int]:
        held = [self.optimizer.state.get(parameter, ()) for parameter in self.parameters]
        return [len(one) for one in (*held, self.optimizer.state, *self.optimizer.param_groups, vars(self.optimizer))]

    def _find_slots(self, plan: Plan, arrays: dict[str, NDArray[Any]]) -> None:
        found = dict(self.kept())
        known = {entry.path for entry in plan.entries} | plan.constant
        if unknown := found.keys() - known:
            raise UnusableRule(
                f"{self._name}: keeps {shown(min(unknown, key=str))}, which it did not in its first {2 * TRIED} steps"
            )
        self._slots = [(entry, *self._holder(entry)) for entry in plan.entries if entry.path in found]
        if late := [entry.path in found for entry in plan.entries if not entry.early]:
            arrays["present"][:] = late

    def _holder(self, entry: Entry) -> tuple[Any, Any]:
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

    def _put(self, entry: Entry, value: Any) -> None:
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
        raise UnusableRule(f"{name}: keeps {shown(path)}, a {type(value).__name__}, which no checkpoint can hold")


def emptied(value: Any) -> Any:
    """A copy of nested dicts and lists with 0 in place of tensors and numbers."""
    if isinstance(value, dict):
        return {key: emptied(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(emptied(inner) for inner in value)
    return 0 if isinstance(value, torch.Tensor | int | float) else value


def shown(path: Path) -> str:
    return ".".join(str(part) for part in path[1:] if not isinstance(part, int)) or str(path)


def _value(entry: Entry, arrays: dict[str, NDArray[Any]]) -> Any:
    """The tensor or number of an entry, from the arrays."""
    part = arrays[entry.array][entry.position]
    if entry.shape is None:
        return entry.kind(part[0])
    made = torch.empty_strided(entry.shape, entry.stride, dtype=entry.kind)
    return made.copy_(torch.from_numpy(part).reshape(entry.shape))
