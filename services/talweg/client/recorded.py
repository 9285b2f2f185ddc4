"""What a run recorded over many steps: slices, tables, and the examples behind a gradient."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, SupportsIndex

from talweg.client.live import Live
from talweg.client.table import Table
from talweg.client.vectors import Vectors
from talweg.errors import InvalidSpec, NotFound

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

_ITEMSIZE: Final = {"float32": 4, "float64": 8}


@dataclass(frozen=True, eq=False)
class Batch:
    """Positions (B,) in the training split, and the inputs and targets there; None where there are no examples."""

    indices: "Array"
    inputs: "Array | None"
    targets: "Array | None"

    def __len__(self) -> int:
        """B."""
        return len(self.indices)


class Recorded(Live):
    """The part of a run that looks at many steps at once."""

    columns: ClassVar[tuple[str, ...]] = ("cost", "learning_rate", "gradient_norm", "parameter_norm", "update_norm")

    @property
    def gradients(self) -> Vectors:
        """The derivatives of every step, fetched when sliced: `run.gradients["dense1.weight"][:, 3, 5]`."""
        return self._vectors("gradient", after_last=False)

    @property
    def trajectory(self) -> Vectors:
        """The parameters before every step, and after the last one of a run that has ended; fetched when sliced."""
        return self._vectors("parameters", after_last=True)

    def batch(self, step: SupportsIndex) -> Batch:
        """The examples behind the step's gradient.

        Raises:
            NoSuchStep: that step is not recorded (yet).
        """
        at = step.__index__()
        indices = self._wire.array(self._path("batch", "indices"), step=at)
        try:
            inputs, targets = (self._wire.array(self._path("batch", what), step=at) for what in ("inputs", "targets"))
        except NotFound:
            return Batch(indices, None, None)
        return Batch(indices, inputs, targets)

    def table(self, tensor: str | None = None, index: int | Sequence[int] = ()) -> Table:
        """A row for each step: cost, learning rate and norms; `.to_pandas()` and `.to_arrow()` make it theirs.

        With `tensor` and `index` also the parameter, the derivative and the update of that coordinate.

        Raises:
            InvalidSpec: there is no such tensor or coordinate.
        """
        import numpy as np

        found: dict[str, Any] = {name: self._column(name) for name in self.columns}
        count = len(found["cost"])
        if tensor is not None:
            place = [index] if isinstance(index, int) else list(index)
            shape = self.gradients[tensor].shape[1:]
            if len(place) != len(shape):
                raise InvalidSpec(f"{tensor}: the index must lie in the shape {shape}, got {tuple(place)}")
            found["derivative"] = self.gradients[tensor][(slice(count), *place)]
            path = self.trajectory[tensor][(slice(count + 1), *place)].astype(np.float64)
            found["parameter"] = path[:count]
            # Of a run under way, where the last update led is not known yet.
            after = np.append(path[1:], np.full(count + 1 - len(path), np.nan))
            with np.errstate(invalid="ignore"):
                found["update"] = after - path[:count]
        columns = [range(count), *(column.tolist() for column in found.values())]
        return Table(("step", *found), tuple(zip(*columns, strict=True)))

    def _column(self, name: str) -> "Array":
        raise NotImplementedError

    def _vectors(self, quantity: Literal["gradient", "parameters"], *, after_last: bool) -> Vectors:
        shapes = {tensor["name"]: tuple(tensor["shape"]) for tensor in self._view["tensors"]}
        steps = partial(self._there, after_last)
        return Vectors(self._wire, self._path("records"), quantity, shapes, _ITEMSIZE[self._view["precision"]], steps)

    def _there(self, after_last: bool) -> int:
        view = self._now()
        return int(view["step"]) + (after_last and self._is_over())
