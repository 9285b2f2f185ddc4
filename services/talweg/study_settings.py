"""Settings of a study: the protocol of tuning, the target and the unit of the budget.

The protocols:

* `fixed`: the given settings, each with every seed.
* `grid`: learning rates evenly spaced on a log scale, each with the tuning seeds; then the best one of each optimizer
  on each problem with the study's seeds, and only these runs are compared. As in DeepOBS (Schneider, Balles, Hennig,
  2019).
* `search`: several trials for each seed, the first with the given settings, the others at quasi-random points or at
  points that TPE suggests; the best trial of each seed counts. As in AlgoPerf (Dahl et al., 2023), which calls a seed
  a study. Optionally, successive halving prunes the worst trials early.
"""

import math
from collections.abc import Collection
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

Protocol = Literal["fixed", "grid", "search"]
Clock = Literal["steps", "gradients", "examples", "seconds"]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Key = Annotated[str, Field(min_length=1, max_length=200)]

MAXIMUM_POINTS = 1000
# A study's claims are wrong, all of them together, in at most this share of studies.
ALPHA = 0.05
# Up to so many optimizers every two are compared; of more, the best with each of the others.
PAIRWISE = 12
# The least that `seeds="auto"` stands for.
LEAST_SEEDS = 10


class Part(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Bounds(Part):
    low: float
    high: float

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        return self


class Range(_Bounds):
    """The range from low to high, on a log or a linear scale."""

    scale: Literal["log", "linear"] = "log"

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"low must be above 0 on a log scale, got {self.low}")
        return self

    def at(self, share: float) -> float:
        """The value at the fraction `share`, in [0, 1], of the range, rounded to twelve digits."""
        if self.scale == "linear":
            value = self.low + share * (self.high - self.low)
        else:
            value = self.low * (self.high / self.low) ** share
        return float(f"{value:.12g}")


class Grid(_Bounds):
    """`points` learning rates from low to high, evenly spaced on a log scale, each with the tuning seeds.

    A number n as `seeds` stands for n seeds that differ from the study's own.
    """

    low: float = Field(1e-4, gt=0)
    high: float = Field(1.0, gt=0)
    points: int = Field(9, ge=2, le=MAXIMUM_POINTS)
    seeds: int | list[Seed] = 1

    def learning_rates(self) -> list[float]:
        """The learning rates, ascending."""
        whole = Range(low=self.low, high=self.high)
        return [whole.at(i / (self.points - 1)) for i in range(self.points)]

    def tuning_seeds(self, judged: list[int]) -> list[int]:
        """The tuning seeds as a list; `judged` are the study's own seeds."""
        if not isinstance(self.seeds, int):
            return self.seeds
        # Deterministic, so that a study submitted twice has the same seeds.
        return fresh_seeds(judged, self.seeds)


class Halving(Part):
    """Successive halving: at each of `rungs` rungs the best 1 / `factor` of a seed's trials continue, rounded up.

    With S steps the rungs are at S / factor^rungs, …, S / factor, the same for every optimizer; each optimizer's trials
    are compared among themselves.

    Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", 2016.
    """

    factor: int = Field(3, ge=2, le=100)
    rungs: int = Field(2, ge=1, le=10)

    def stops(self, steps: int) -> list[int]:
        """The steps after which trials are compared, ascending; the last is the end."""
        return [max(steps // self.factor**rung, 1) for rung in range(self.rungs, -1, -1)]


# Added after the first searches were stored: omitted at their defaults, so that stored content stays the same.
_LATER = ("sampler", "startup", "pruning")


class Search(Part):
    """`trials` trials for each seed: the given settings, then points of `space`.

    All optimizers get the same points; each uses the hyperparameters of a point that it has. Points that are not given
    are drawn at submission and stored with the study: trials − 1 for each seed.

    With the sampler "tpe" this holds for the first `startup` trials. Each further trial starts after the trials before
    it have ended, at the point that Optuna's TPE suggests from this optimizer's results on this problem with this seed.
    """

    space: dict[Key, Range] = Field(
        default_factory=lambda: {"learning_rate": Range(low=1e-4, high=1.0)}, min_length=1, max_length=20
    )
    trials: int = Field(5, ge=1, le=MAXIMUM_POINTS)
    seed: Seed = 0
    points: list[list[dict[Key, float]]] | None = None
    sampler: Literal["halton", "tpe"] = "halton"
    startup: int = Field(5, ge=1, le=MAXIMUM_POINTS)
    pruning: Halving | None = None

    @property
    def begins(self) -> int:
        """The number of trials that a seed starts with: all of them, unless the sampler is tpe."""
        return min(self.startup, self.trials) if self.sampler == "tpe" else self.trials

    @property
    def adaptive(self) -> bool:
        """Whether runs depend on the results of earlier trials."""
        return self.sampler == "tpe" or self.pruning is not None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.sampler == "tpe" and self.pruning is not None:
            raise ValueError("pruning compares all trials at the same time, but tpe creates them one after the other")
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, content: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_defaults(Search, content(self), _LATER)


class UntilSettled(Part):
    """Seeds are added until the best is told from every other optimizer, or there are `at_most`.

    The looks at the results are planned beforehand, and each claims at α / their number: all claims together are wrong
    in at most α of studies, however many looks were needed (Bonferroni).
    """

    at_most: int = Field(60, ge=3, le=10_000)

    def looks(self, first: int) -> list[int]:
        """After how many seeds the results are looked at: half as many more each time, `at_most` last."""
        found = [min(first, self.at_most)]
        while found[-1] < self.at_most:
            found.append(min(-(-found[-1] * 3 // 2), self.at_most))
        return found


class Target(Part):
    """The target validation cost: `cost`, or computed from the study's own runs by AlgoPerf's rule.

    The rule: for each of the `references` (optimizers by name; empty: all), the median over seeds of the best cost
    within `share` of the budget; the lowest of these medians is the target.
    """

    cost: float | None = None
    references: list[Key] = Field(default_factory=list, max_length=100)
    share: float = Field(0.75, gt=0, le=1)


def without_defaults(kind: type[BaseModel], content: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Content without those of the named fields that have their default value."""
    return {
        key: value
        for key, value in content.items()
        if key not in names or value != kind.model_fields[key].get_default(call_default_factory=True)
    }


def fresh_seeds(used: Collection[int], count: int) -> list[int]:
    """`count` seeds that are not among `used`: those after the greatest, or from 0 where seeds end."""
    first = max(used) + 1 if max(used) + count < 2**63 else 0
    return [seed for seed in range(first, first + count + len(used)) if seed not in used][:count]


def comparisons_of(optimizers: int) -> int:
    """How many comparisons a study of so many optimizers makes on each problem."""
    return optimizers * (optimizers - 1) // 2 if optimizers <= PAIRWISE else optimizers - 1


def seeds_needed(comparisons: int, *, alpha: float = ALPHA) -> int:
    """The least n with which the smallest of m = `comparisons` corrected p of the signed-rank test can be ≤ alpha.

    Of n pairs the least p is 2 / 2^n, so that is 2^(1−n) ≤ α / m.
    """
    return math.ceil(1 + math.log2(max(comparisons, 1) / alpha))


def enough_seeds(optimizers: int, *, alpha: float = ALPHA) -> int:
    """How many seeds `auto` stands for: with so many every comparison can be settled, and at least 10."""
    return max(LEAST_SEEDS, seeds_needed(comparisons_of(optimizers), alpha=alpha))
