"""What a PyTorch optimizer keeps between steps, found by steps on a copy, and laid out as arrays for checkpoints."""

from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch

from talweg.libraries.arguments import LibraryOptimizer
from talweg.libraries.torch_run import TRIED, Entry, Live, Path, Plan, emptied, shown
from talweg_core.layout import Layout
from talweg_core.optimizers.brought import UnusableRule

# Switches between implementations of the same rule.
LEFT_OUT: Final = frozenset({"self", "params", "foreach", "fused", "capturable", "differentiable", "maximize"})
_KINDS: Final = {torch.float32: "float32", torch.float64: "float64", torch.bool: "bool"}


@lru_cache(maxsize=64)
def planned(
    kind: type[LibraryOptimizer],
    arguments: tuple[Any, ...],
    names: tuple[str, ...],
    shapes: tuple[Any, ...],
    dtype: str,
) -> Plan:
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

    def plan(self) -> Plan:
        """What the optimizer keeps."""
        live, point = self._live(), self._drawn()
        found = dict(live.kept())
        first, changed, early, sizes = _numbers(found), set(), None, []
        before = _seeds()
        for _ in range(2 * TRIED):
            self._step(live, point, self._drawn())
            now = dict(live.kept())
            early = set(now) if early is None else early & set(now)
            changed |= {path for path, value in _numbers(now).items() if first.setdefault(path, value) != value}
            found |= now
            sizes.append(len(found))
        random = before != _seeds()
        if sizes[-1] != sizes[TRIED - 1]:
            raise UnusableRule(
                f"{self._kind.name}: what it keeps grows with the steps, which no checkpoint of fixed size holds"
            )
        # Settings that no step changes.
        settings = {*self._kind.arguments, *LEFT_OUT}
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
                f"{self._kind.name}: the list {shown(grown[0])} grows with the steps, which no checkpoint of fixed "
                "size holds"
            )
        frames = tuple(emptied(live.optimizer.state.get(parameter, {})) for parameter in live.parameters)
        plan = Plan(entries, arrays, constant, frames, random)
        self._check_restored(plan, live, point)
        return plan

    def _check_restored(self, plan: Plan, live: "Live", point: list[torch.Tensor]) -> None:
        """Raise UnusableRule unless copies that are restored at several steps go on with the same bits."""
        arrays = {name: np.zeros(shape, held) for name, (shape, held) in plan.arrays.items()}
        together = [(live, point)]
        for step in range(TRIED):
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

    def _live(self) -> "Live":
        return Live(self._kind, self._layout.shapes, self._dtype, self._arguments)

    def _step(self, live: "Live", point: list[torch.Tensor], gradient: list[torch.Tensor]) -> None:
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
) -> tuple[tuple[Entry, ...], dict[str, tuple[tuple[int, ...], str]]]:
    """Arrays for the kept values: (P,) for a tensor like each parameter, (T,) for a number of each, else its own."""
    entries: list[Entry] = []
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
        entries.append(Entry(path, name, position, own, kind, path in early, value.stride() if tensor else ()))
    late = sum(not entry.early for entry in entries)
    return tuple(entries), arrays | ({"present": ((late,), "bool")} if late else {})


def _order(path: Path) -> list[tuple[bool, int, str]]:
    """A key to sort paths by: positions in lists as numbers."""
    return [(isinstance(part, str), part if isinstance(part, int) else 0, str(part)) for part in path]


def _held(dtype: torch.dtype) -> str:
    """The dtype of our array for a tensor."""
    return _KINDS.get(dtype) or ("float32" if dtype.is_floating_point else "int64")
