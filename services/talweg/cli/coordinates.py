"""Which coordinate of a tensor is worth a word."""

from typing import TYPE_CHECKING

from talweg.errors import InvalidSpec

if TYPE_CHECKING:
    from talweg.client import Run


def largest(run: "Run", step: int, tensor: str) -> tuple[int, ...]:
    """Where the derivative of the step's cost by this tensor is largest in size; raises InvalidSpec, NoSuchStep."""
    import numpy as np

    if tensor not in run.shapes:
        raise InvalidSpec(f"tensor: must be one of {', '.join(run.shapes)}, got {tensor!r}")
    derivatives = run.gradient(step)[tensor]
    return tuple(int(position) for position in np.unravel_index(np.argmax(np.abs(derivatives)), derivatives.shape))
