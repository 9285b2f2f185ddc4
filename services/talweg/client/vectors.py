"""Gradients and parameters over many steps: nothing is fetched before a slice is taken, and then in pages.

run.gradients[10:20]                              each tensor of ten steps, (10, *shape)
run.gradients["dense1.weight"][10:20]             of one tensor
run.gradients["dense1.weight"][:, 3, 5]           one coordinate over all steps
"""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from talweg.client.wire import Wire
from talweg.errors import InvalidSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

# Half of what one answer may hold; of a part of each vector, the service reads so many times more than it sends.
PAGE: Final = 32_000_000
READ_FOR_ONE_SENT: Final = 16


@dataclass(frozen=True)
class Vectors:
    """One quantity of a run at every step. `steps` asks how many there are by now; `itemsize` is a number's bytes."""

    wire: Wire
    path: str
    quantity: Literal["gradient", "parameters"]
    shapes: dict[str, tuple[int, ...]]
    itemsize: int
    steps: Callable[[], int]

    def __len__(self) -> int:
        """How many steps there are."""
        return self.steps()

    @overload
    def __getitem__(self, key: str) -> "TensorOverTime": ...
    @overload
    def __getitem__(self, key: "int | slice") -> "dict[str, Array]": ...
    def __getitem__(self, key: "str | int | slice") -> "TensorOverTime | dict[str, Array]":
        """A tensor by its name, to be sliced; or every tensor at a step, or at a slice of steps."""
        if isinstance(key, str):
            if key not in self.shapes:
                raise InvalidSpec(f"tensor: must be one of {', '.join(self.shapes)}, got {key!r}")
            return TensorOverTime(self, key)
        start, stop, stride = span(key, len(self))
        flat = self.fetch(start, stop, self.size)[::stride]
        tensors, first = {}, 0
        for name, shape in self.shapes.items():
            size = math.prod(shape)
            part = flat[:, first : first + size].reshape(len(flat), *shape)
            # Copies, so that keeping one tensor does not keep them all.
            tensors[name] = part.copy() if isinstance(key, slice) else part[0].copy()
            first += size
        return tensors

    def __repr__(self) -> str:
        return f"<{self.quantity} of {len(self)} steps: {', '.join(self.shapes)}>"

    @property
    def size(self) -> int:
        """P: how many coordinates there are."""
        return sum(map(math.prod, self.shapes.values()))

    def fetch(self, start: int, stop: int, width: int, **part: str) -> "Array":
        """The steps start … stop − 1, page after page; `width` numbers a step are sent."""
        import numpy as np

        most = max(1, PAGE // (max(width, self.size // READ_FOR_ONE_SENT) * self.itemsize))
        # A range of no steps still has a shape and a type.
        bounds = [(at, min(at + most, stop)) for at in range(start, stop, most)] or [(0, 1)]
        place = f"{self.path}/{self.quantity}"
        pages = [self.wire.array(place, start=first, stop=last, **part) for first, last in bounds]
        whole = pages[0] if len(pages) == 1 else np.concatenate(pages)
        return whole[: stop - start]


@dataclass(frozen=True)
class TensorOverTime:
    """One tensor at every step, (steps, *shape); NumPy's basic slices fetch what they name."""

    vectors: Vectors
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        """(steps, *shape)."""
        return (len(self.vectors), *self.vectors.shapes[self.name])

    def __len__(self) -> int:
        """How many steps there are."""
        return len(self.vectors)

    def __getitem__(self, key: Any) -> "Array":
        """The steps first, then the tensor's axes: integers, slices and `...`."""
        steps, *shape = self.shape
        wanted, *rest = _spelled_out(key, 1 + len(shape))
        start, stop, stride = span(wanted, steps)
        index = [
            ":" if isinstance(w, slice) else str(position(w, n, self.name)) for w, n in zip(rest, shape, strict=True)
        ]
        local = [w for w in rest if isinstance(w, slice)]
        width = math.prod(n for n, w in zip(shape, rest, strict=True) if isinstance(w, slice))
        found = self.vectors.fetch(start, stop, width, tensor=self.name, index=",".join(index))
        first = slice(None, None, stride) if isinstance(wanted, slice) else 0
        part: Array = found[(first, *local)]
        return part

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> "Array":
        """All of it."""
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype)

    def __repr__(self) -> str:
        return f"<{self.vectors.quantity} of {self.name}, {self.shape}>"


def span(wanted: Any, steps: int) -> tuple[int, int, int]:
    """Start, stop and stride of a step or a slice of steps; raises InvalidSpec for what is neither."""
    if not isinstance(wanted, slice):
        at = position(wanted, steps, "step")
        return at, at + 1, 1
    start, stop, stride = wanted.indices(steps)
    if stride < 0:
        raise InvalidSpec(f"step: a slice must go forwards, got a stride of {stride}")
    return start, max(start, stop), stride


def position(wanted: Any, length: int, what: str) -> int:
    """A position from the start; negative ones count from the end. Raises InvalidSpec."""
    try:
        at = operator.index(wanted)
    except TypeError:
        raise InvalidSpec(f"{what}: an index must be an integer or a slice, got {wanted!r}") from None
    if isinstance(wanted, bool) or not -length <= at < length:
        raise InvalidSpec(f"{what}: an index must lie in [0, {length - 1}], got {wanted}")
    return at % length


def _spelled_out(key: Any, axes: int) -> list[Any]:
    """One entry for each axis, `...` and what is left out filled with whole slices."""
    entries = list(key) if isinstance(key, tuple) else [key]
    places = [at for at, entry in enumerate(entries) if entry is Ellipsis]
    if len(places) > 1 or len(entries) - len(places) > axes:
        raise InvalidSpec(f"index: has at most {axes} axes, the steps first, got {len(entries)}")
    at = places[0] if places else len(entries)
    return [*entries[:at], *[slice(None)] * (axes - len(entries) + len(places)), *entries[at + len(places) :]]
