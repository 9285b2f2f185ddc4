"""Schedules that go from one rate to another, by one formula each."""

from dataclasses import dataclass
from math import cos, inf, pi, sqrt
from typing import ClassVar

from talweg_core.schedules.base import Schedule, count, setting


@dataclass(frozen=True)
class Constant(Schedule):
    """1."""

    name: ClassVar[str] = "constant"

    def factor(self, step: int) -> float:
        """1."""
        return 1.0


@dataclass(frozen=True)
class Linear(Schedule):
    """From `start` to `end` in `steps` steps, evenly; `end` from then on. PyTorch: LinearLR(start, end, steps)."""

    name: ClassVar[str] = "linear"
    steps: int = count()
    start: float = setting(0, inf, "[)", 1.0)
    end: float = setting(0, inf, "[)", 0.0)

    def factor(self, step: int) -> float:
        """start + (end − start) min(t / T, 1)."""
        return self.start + (self.end - self.start) * min(step / self.steps, 1.0)


@dataclass(frozen=True)
class Cosine(Schedule):
    """From 1 to `end` along half a cosine in `steps` steps. PyTorch: CosineAnnealingLR(T_max=steps, eta_min=η end).

    Source: Loshchilov & Hutter 2017, equation 5.
    """

    name: ClassVar[str] = "cosine"
    steps: int = count()
    end: float = setting(0, 1, "[]", 0.0)

    def factor(self, step: int) -> float:
        """end + ½ (1 − end)(1 + cos(π min(t / T, 1)))."""
        return self.end + 0.5 * (1 - self.end) * (1 + cos(pi * min(step / self.steps, 1.0)))


@dataclass(frozen=True)
class CosineRestarts(Schedule):
    """Cosines from 1 to `end`, the first of `steps` steps, each `growth` times as long as the one before.

    Source: Loshchilov & Hutter 2017, algorithm 1. PyTorch: CosineAnnealingWarmRestarts(T_0=steps, T_mult=growth).
    """

    name: ClassVar[str] = "cosine_restarts"
    steps: int = count()
    growth: int = count(default=1)
    end: float = setting(0, 1, "[]", 0.0)

    def factor(self, step: int) -> float:
        """end + ½ (1 − end)(1 + cos(π t′ / T′)), t′ steps into a cosine of T′."""
        length = self.steps
        if self.growth == 1:
            step %= length
        while step >= length:
            step -= length
            length *= self.growth
        return self.end + 0.5 * (1 - self.end) * (1 + cos(pi * step / length))


@dataclass(frozen=True)
class Step(Schedule):
    """Times `factor_each` after every `every` steps. PyTorch: StepLR(step_size=every, gamma=factor_each)."""

    name: ClassVar[str] = "step"
    every: int = count()
    factor_each: float = setting(0, 1, "(]", 0.1)

    def factor(self, step: int) -> float:
        """γ^⌊t / n⌋."""
        return float(self.factor_each ** (step // self.every))


@dataclass(frozen=True)
class Exponential(Schedule):
    """Times `rate` at every step, or over every `steps` steps. PyTorch: ExponentialLR(gamma=rate).

    optax: exponential_decay(transition_steps=steps, decay_rate=rate).
    """

    name: ClassVar[str] = "exponential"
    rate: float = setting(0, 1, "(]")
    steps: int = count(default=1)

    def factor(self, step: int) -> float:
        """γ^(t / n)."""
        return float(self.rate ** (step / self.steps))


@dataclass(frozen=True)
class Polynomial(Schedule):
    """From 1 to `end` in `steps` steps, as a power of what is left. PyTorch: PolynomialLR(total_iters=steps, power).

    optax: polynomial_schedule(1, end, power, steps).
    """

    name: ClassVar[str] = "polynomial"
    steps: int = count()
    power: float = setting(0, inf, "()", 2.0)
    end: float = setting(0, 1, "[]", 0.0)

    def factor(self, step: int) -> float:
        """end + (1 − end)(1 − min(t / T, 1))^p."""
        return float(self.end + (1 - self.end) * (1 - min(step / self.steps, 1.0)) ** self.power)


@dataclass(frozen=True)
class InverseSquareRoot(Schedule):
    """1 up to step `after`, then √(after / t): the decay of Vaswani et al. 2017, equation 3, without its warm-up."""

    name: ClassVar[str] = "inverse_square_root"
    after: int = count(default=1)

    def factor(self, step: int) -> float:
        """√(n / max(t, n))."""
        return sqrt(self.after / max(step, self.after))
