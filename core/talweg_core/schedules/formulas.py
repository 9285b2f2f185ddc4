"""The schedules: those of one formula, then those of several phases."""

from dataclasses import dataclass
from math import cos, inf, pi, sqrt
from typing import Any, ClassVar

from talweg_core.errors import InvalidProblem
from talweg_core.schedules.base import Schedule, count, nested, setting


@dataclass(frozen=True)
class Constant(Schedule):
    """The learning rate stays constant: factor 1."""

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
    """Cosines from 1 to `end`: the first takes `steps` steps, each next one `growth` times as many.

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
    """From 1 to `end` in `steps` steps, as a power of the remaining share.

    PyTorch: PolynomialLR(total_iters=steps, power). optax: polynomial_schedule(1, end, power, steps).
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
    """1 up to step `after`, then √(after / t): the decay in Vaswani et al. 2017, equation 3, without its warm-up."""

    name: ClassVar[str] = "inverse_square_root"
    after: int = count(default=1)

    def factor(self, step: int) -> float:
        """√(n / max(t, n))."""
        return sqrt(self.after / max(step, self.after))


@dataclass(frozen=True)
class WarmUp(Schedule):
    """From `start` to 1 evenly in `steps` steps, then the schedule `then`, which starts there at its step 0.

    then: any schedule's settings, {"name": "cosine", "steps": 900}, or its name. optax: join_schedules of a linear
    schedule and `then`.
    """

    name: ClassVar[str] = "warmup"
    steps: int = count()
    start: float = setting(0, 1, "[]", 0.0)
    then: Any = "constant"

    def __post_init__(self) -> None:
        """Check the settings, and create the schedule `then`."""
        from talweg_core.schedules import create

        super().__post_init__()
        object.__setattr__(self, "then", nested(self.then, create))

    def settings(self) -> dict[str, Any]:
        """The settings, with those of the schedule `then`."""
        then: Schedule = self.then
        return super().settings() | {"then": {"name": then.name} | then.settings()}

    def factor(self, step: int) -> float:
        """start + (1 − start) t / T, then the factor of `then`."""
        if step < self.steps:
            return self.start + (1 - self.start) * step / self.steps
        then: Schedule = self.then
        return then.factor(step - self.steps)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """From 1 / divisor to 1 in the share `rise` of `steps`, then to 1 / (divisor · last_divisor); half a cosine each.

    Source: Smith & Topin 2018. PyTorch: OneCycleLR(max_lr=η, total_steps=steps, pct_start=rise, div_factor=divisor,
    final_div_factor=last_divisor), whose phases end at step rise · steps − 1 and steps − 1, as here. The momentum
    does not change (cycle_momentum=False).
    """

    name: ClassVar[str] = "one_cycle"
    steps: int = count(low=2)
    rise: float = setting(0, 1, "()", 0.3)
    divisor: float = setting(1, inf, "[)", 25.0)
    last_divisor: float = setting(1, inf, "[)", 1e4)

    def factor(self, step: int) -> float:
        """Half a cosine up, half a cosine down."""
        step = min(step, self.steps - 1)
        top = self.rise * self.steps - 1
        first, last = 1 / self.divisor, 1 / (self.divisor * self.last_divisor)
        if step <= top:
            return _between(first, 1.0, step / top)
        return _between(1.0, last, (step - top) / (self.steps - 1 - top))


@dataclass(frozen=True)
class WarmUpStableDecay(Schedule):
    """From 0 to 1 in `warmup` steps, then 1, then over the last `decay` of the `steps` steps to `end`, evenly.

    Source: Hu et al. 2024, "MiniCPM", equation 1 with a linear decay.
    """

    name: ClassVar[str] = "warmup_stable_decay"
    steps: int = count()
    decay: int = count()
    warmup: int = count(low=0, default=0)
    end: float = setting(0, 1, "[]", 0.0)

    def __post_init__(self) -> None:
        """Check the settings, and that both phases fit into `steps`."""
        super().__post_init__()
        if self.warmup + self.decay > self.steps:
            raise InvalidProblem(
                f"{self.name}: warmup + decay must be at most steps = {self.steps}, got {self.warmup + self.decay}"
            )

    def factor(self, step: int) -> float:
        """t / W, then 1, then 1 − (1 − end)(t − T + D) / D."""
        if step < self.warmup:
            return step / self.warmup
        into = step - (self.steps - self.decay)
        return 1.0 if into <= 0 else 1 - (1 - self.end) * min(into / self.decay, 1.0)


def _between(first: float, last: float, share: float) -> float:
    return last + (first - last) * 0.5 * (1 + cos(pi * share))
