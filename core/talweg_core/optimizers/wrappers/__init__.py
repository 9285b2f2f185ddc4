"""What can stand around any rule: see Optimizer.around for how it is given."""

from talweg_core.optimizers.base import AROUND
from talweg_core.optimizers.wrappers.accumulate import Accumulate
from talweg_core.optimizers.wrappers.average import Average
from talweg_core.optimizers.wrappers.clip import ClipNorm, ClipValue
from talweg_core.optimizers.wrappers.decay import L2, WeightDecay
from talweg_core.optimizers.wrappers.sharpness import Sharpness

__all__ = ["L2", "Accumulate", "Average", "ClipNorm", "ClipValue", "Sharpness", "WeightDecay"]

AROUND.update({kind.name: kind for kind in (ClipValue, ClipNorm, L2, WeightDecay, Accumulate, Average, Sharpness)})
