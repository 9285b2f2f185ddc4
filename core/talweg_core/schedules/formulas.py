"""The schedules: those of one formula, then those of several phases."""

import dataclasses
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import cos, inf, pi, sqrt
from typing import Any, ClassVar

from talweg_core.errors import InvalidProblem
from talweg_core.optimizers.hyperparameters import Interval
from talweg_core.schedules.base import Schedule, count, later, nested, setting


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
    """From `start`, 1, to `end` along half a cosine in `steps` steps. PyTorch: CosineAnnealingLR(T_max=steps, η end).

    Source: Loshchilov & Hutter 2017, equation 5.
    """

    name: ClassVar[str] = "cosine"
    steps: int = count()
    end: float = setting(0, 1, "[]", 0.0)
    start: float = later(setting(0, 1, "[]", 1.0))

    def factor(self, step: int) -> float:
        """end + ½ (start − end)(1 + cos(π min(t / T, 1)))."""
        return self.end + 0.5 * (self.start - self.end) * (1 + cos(pi * min(step / self.steps, 1.0)))


@dataclass(frozen=True)
class CosineRestarts(Schedule):
    """Cosines from 1 to `end`: the first takes `steps` steps, each next one `growth` times as many.

    Each next one begins at `decay` times the height of the one before. optax: sgdr_schedule.

    Source: Loshchilov & Hutter 2017, algorithm 1. PyTorch: CosineAnnealingWarmRestarts(T_0=steps, T_mult=growth).
    """

    name: ClassVar[str] = "cosine_restarts"
    steps: int = count()
    growth: int = count(default=1)
    end: float = setting(0, 1, "[]", 0.0)
    decay: float = later(setting(0, 1, "(]", 1.0))

    def factor(self, step: int) -> float:
        """end + ½ (decay^k − end)(1 + cos(π t′ / T′)), t′ steps into the k-th cosine, of T′ steps, k from 0."""
        length, passed = self.steps, 0
        if self.growth == 1:
            passed, step = divmod(step, length)
        while step >= length:
            step, passed = step - length, passed + 1
            length *= self.growth
        peak = self.decay**passed
        return self.end + 0.5 * (peak - self.end) * (1 + cos(pi * step / length))


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
    """1 up to step `begin`, then to `end` in `steps` steps, as a power of the remaining share.

    PyTorch: PolynomialLR(total_iters=steps, power). optax: polynomial_schedule(1, end, power, steps, begin).
    """

    name: ClassVar[str] = "polynomial"
    steps: int = count()
    power: float = setting(0, inf, "()", 2.0)
    end: float = setting(0, 1, "[]", 0.0)
    begin: int = later(count(low=0, default=0))

    def factor(self, step: int) -> float:
        """end + (1 − end)(1 − min(max(t − B, 0) / T, 1))^p."""
        share = min(max(step - self.begin, 0) / self.steps, 1.0)
        return float(self.end + (1 - self.end) * (1 - share) ** self.power)


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
class Sequence(Schedule):
    """Schedules one after another: the k-th from its boundary on, the first from step 0.

    schedules: each a name or settings, {"name": "cosine", "steps": 900}, and optionally `scale`, a number that its
    factor is multiplied by, and `skip`, the step of its own at which it begins. boundaries: the steps at which the
    second, the third, … begin. optax: join_schedules(schedules, boundaries). PyTorch: SequentialLR(milestones).
    """

    name: ClassVar[str] = "sequence"
    schedules: Any = dataclasses.field(default=dataclasses.MISSING)
    boundaries: Any = dataclasses.field(default=dataclasses.MISSING)

    def __post_init__(self) -> None:
        """Check the settings, and create the schedules."""
        super().__post_init__()
        if isinstance(self.schedules, str) or not isinstance(self.schedules, list | tuple) or not self.schedules:
            raise InvalidProblem(f"sequence: schedules must be a list of at least one, got {self.schedules!r}")
        parts = tuple(_part(given) for given in self.schedules)
        given = self.boundaries
        whole = isinstance(given, list | tuple) and all(
            isinstance(one, int) and not isinstance(one, bool) for one in given
        )
        if not whole or len(given) != len(parts) - 1 or any(b <= a for a, b in pairwise([0, *given])):
            raise InvalidProblem(
                f"sequence: boundaries must be {len(parts) - 1} ascending whole numbers from 1, got {given!r}"
            )
        object.__setattr__(self, "schedules", parts)
        object.__setattr__(self, "boundaries", tuple(given))

    def settings(self) -> dict[str, Any]:
        """The settings, with those of every schedule."""
        return {"schedules": [part.settings() for part in self.schedules], "boundaries": list(self.boundaries)}

    def factor(self, step: int) -> float:
        """s_k f_k(t − b_k + q_k) in the k-th part: f_k its schedule, b_k its boundary, s_k its scale, q_k its skip."""
        position = bisect_right(self.boundaries, step)
        part: _Part = self.schedules[position]
        begun = self.boundaries[position - 1] if position else 0
        return part.scale * part.schedule.factor(step - begun + part.skip)


@dataclass(frozen=True)
class _Part:
    """One schedule of a sequence."""

    schedule: Schedule
    scale: float = 1.0
    skip: int = 0

    def settings(self) -> dict[str, Any]:
        more = {"scale": self.scale, "skip": self.skip}
        return (
            {"name": self.schedule.name}
            | self.schedule.settings()
            | {k: v for k, v in more.items() if v != getattr(_Part, k)}
        )


_SCALE = Interval(0, inf, "[)")
_SKIP = Interval(0, inf, "[)", whole=True)


def _part(given: Any) -> _Part:
    from talweg_core.schedules import create

    if isinstance(given, _Part):
        return given
    if not isinstance(given, Mapping):
        return _Part(nested(given, create, "sequence: schedules"))
    settings = dict(given)
    scale = _SCALE.check("sequence: scale", settings.pop("scale", 1.0), InvalidProblem)
    skip = int(_SKIP.check("sequence: skip", settings.pop("skip", 0), InvalidProblem))
    return _Part(nested(settings, create, "sequence: schedules"), scale, skip)


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
