"""Schedules made of phases."""

from dataclasses import dataclass
from math import cos, pi
from typing import Any, ClassVar

from talweg_core.errors import InvalidProblem
from talweg_core.schedules.base import Schedule, count, nested, setting


@dataclass(frozen=True)
class WarmUp(Schedule):
    """From `start` to 1 evenly in `steps` steps, then another schedule, whose step 0 is the first one after.

    then: any schedule's settings, {"name": "cosine", "steps": 900}, or its name. optax: join_schedules of a linear one
    and it.
    """

    name: ClassVar[str] = "warmup"
    steps: int = count()
    start: float = setting(0, 1, "[]", 0.0)
    then: Any = "constant"

    def __post_init__(self) -> None:
        """Check the settings, and make the schedule within."""
        from talweg_core.schedules import create

        super().__post_init__()
        object.__setattr__(self, "then", nested(self.then, create))

    def settings(self) -> dict[str, Any]:
        """With the settings of the schedule within."""
        then: Schedule = self.then
        return super().settings() | {"then": {"name": then.name} | then.settings()}

    def factor(self, step: int) -> float:
        """start + (1 − start) t / T, then the other's."""
        if step < self.steps:
            return self.start + (1 - self.start) * step / self.steps
        then: Schedule = self.then
        return then.factor(step - self.steps)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up from 1 / divisor to 1 in the first `rise` of `steps`, then down to 1 / (divisor · last_divisor); by cosines.

    Source: Smith & Topin 2018. PyTorch: OneCycleLR(max_lr=η, total_steps=steps, pct_start=rise, div_factor=divisor,
    final_div_factor=last_divisor), whose phases end at step rise · steps − 1 and steps − 1, as here. It leaves the
    momentum alone (cycle_momentum=False).
    """

    name: ClassVar[str] = "one_cycle"
    steps: int = count(low=2)
    rise: float = setting(0, 1, "()", 0.3)
    divisor: float = setting(1, float("inf"), "[)", 25.0)
    last_divisor: float = setting(1, float("inf"), "[)", 1e4)

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
    """From 0 to 1 in `warmup` steps, 1, and over the last `decay` of `steps` down to `end`, evenly.

    Source: Hu et al. 2024, "MiniCPM", equation 1 with a linear decay.
    """

    name: ClassVar[str] = "warmup_stable_decay"
    steps: int = count()
    decay: int = count()
    warmup: int = count(low=0, default=0)
    end: float = setting(0, 1, "[]", 0.0)

    def __post_init__(self) -> None:
        """Check the settings, and that the phases fit."""
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
