"""From one run's checkpoint to what another run begins with."""

from talweg_core.checkpoint import pack, unpack
from talweg_core.cohort import Cohort
from talweg_core.errors import InvalidCheckpoint
from talweg_core.layout import Array
from talweg_core.optimizers import Optimizer


def same_rule(one: Optimizer, other: Optimizer) -> bool:
    """Whether the state of one rule means the same to the other: same kind, same choices, the same things around.

    Numbers such as the learning rate or β₁ may differ.
    """
    return type(one) is type(other) and one.shared() == other.shared()


def held(payload: bytes) -> tuple[Array, Array | None]:
    """The parameters (P,) in a checkpoint, and the network's own state (S,) where it has any."""
    _, arrays = unpack(payload)
    return arrays["parameters"], arrays.get("network")


def keeps_state(cohort: Cohort) -> bool:
    """Whether the network keeps something beside its parameters, as batch norm does."""
    return held(cohort.checkpoint(0))[1] is not None


def fresh(cohort: Cohort, step: int, parameters: Array, network: Array | None = None) -> bytes:
    """The checkpoint of a run at `step` whose rule has seen nothing yet.

    `cohort` holds that run alone, at its start. Raises InvalidCheckpoint where the arrays are not of its shape.
    """
    facts, arrays = unpack(cohort.checkpoint(0))
    given = {"parameters": parameters} if network is None else {"parameters": parameters, "network": network}
    for name, array in given.items():
        if name not in arrays or (array.dtype, array.shape) != (arrays[name].dtype, arrays[name].shape):
            raise InvalidCheckpoint(f"{name}: must be of this run's shape and precision, got {array.shape}")
    return pack(facts | {"step": step}, arrays | given)


def fits(cohort: Cohort, payload: bytes) -> bool:
    """Whether the run that `cohort` holds alone could go on from this checkpoint."""
    found, own = unpack(payload)[1], unpack(cohort.checkpoint(0))[1]
    return {name: (array.dtype, array.shape) for name, array in found.items()} == {
        name: (array.dtype, array.shape) for name, array in own.items()
    }
