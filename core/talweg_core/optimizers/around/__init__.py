"""What can stand around any rule: see Optimizer.around for how it is given."""

from talweg_core.optimizers.around.accumulate import Accumulate
from talweg_core.optimizers.around.average import Average
from talweg_core.optimizers.around.clip import ClipNorm, ClipValue
from talweg_core.optimizers.around.decay import L2, WeightDecay
from talweg_core.optimizers.around.sharpness import Sharpness
from talweg_core.optimizers.base import AROUND

__all__ = ["L2", "Accumulate", "Average", "ClipNorm", "ClipValue", "Sharpness", "WeightDecay"]

AROUND.update({kind.name: kind for kind in (ClipValue, ClipNorm, L2, WeightDecay, Accumulate, Average, Sharpness)})
