"""What a study may say of how its optimizers are tuned, on what they are judged and in what the budget is counted.

The protocols:

* `fixed`: given settings, each with every seed.
* `grid`: learning rates evenly apart on a log scale, each tried with the tuning seeds; then the best of each optimizer
  on each problem with fresh seeds, which alone are judged. As DeepOBS (Schneider, Balles, Hennig, 2019) does it.
* `search`: for each seed a number of trials, the first with the given settings, the others at quasi-random points or at
  those that TPE suggests; the best trial of each seed counts. As AlgoPerf (Dahl et al., 2023), where a seed is called a
  study. On request, successive halving prunes the worst of them on the way.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

Protocol = Literal["fixed", "grid", "search"]
Clock = Literal["steps", "gradients", "examples", "seconds"]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Key = Annotated[str, Field(min_length=1, max_length=200)]

MAXIMUM_POINTS = 1000


class Part(BaseModel):
    """Frozen, and without keys that no one knows."""

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
    """low to high, on a log or a linear scale."""

    scale: Literal["log", "linear"] = "log"

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"low must be above 0 on a log scale, got {self.low}")
        return self

    def at(self, share: float) -> float:
        """The value at `share`, in [0, 1], of the way, to twelve digits: a setting that people can write down."""
        if self.scale == "linear":
            value = self.low + share * (self.high - self.low)
        else:
            value = self.low * (self.high / self.low) ** share
        return float(f"{value:.12g}")


class Grid(_Bounds):
    """`points` learning rates from low to high, evenly apart on a log scale, each with the tuning seeds.

    A count n of seeds stands for n that none of the study's own is among.
    """

    low: float = Field(1e-4, gt=0)
    high: float = Field(1.0, gt=0)
    points: int = Field(9, ge=2, le=MAXIMUM_POINTS)
    seeds: int | list[Seed] = 1

    def learning_rates(self) -> list[float]:
        """From low to high."""
        whole = Range(low=self.low, high=self.high)
        return [whole.at(i / (self.points - 1)) for i in range(self.points)]

    def tuning_seeds(self, judged: list[int]) -> list[int]:
        """Spelled out; `judged` are the study's own."""
        if not isinstance(self.seeds, int):
            return self.seeds
        # In order, so that the same study asked for twice has the same ones.
        first = max(judged) + 1 if max(judged) + self.seeds < 2**63 else 0
        return [seed for seed in range(first, first + self.seeds + len(judged)) if seed not in judged][: self.seeds]


class Halving(Part):
    """Successive halving: `rungs` times on the way, of each seed's trials the best 1 / `factor` go on, rounded up.

    With S steps the rungs are at S / factor^rungs, …, S / factor: the same for every optimizer, each among its own
    trials.

    Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", 2016.
    """

    factor: int = Field(3, ge=2, le=100)
    rungs: int = Field(2, ge=1, le=10)

    def stops(self, steps: int) -> list[int]:
        """After how many steps trials are held against each other, ascending; the last is the end."""
        return [max(steps // self.factor**rung, 1) for rung in range(self.rungs, -1, -1)]


# Came after the first searches were stored: left out where they say nothing, so that those read as before.
_LATER = ("sampler", "startup", "pruning")


class Search(Part):
    """`trials` for each seed: the settings as given, then points of `space`.

    Every optimizer meets the same points, and takes of each the hyperparameters that it has. `points` are drawn at
    submission where they are not given, and stay with the study: for each seed, trials − 1 of them.

    With the sampler "tpe" that is so for the first `startup` trials. Each further one follows when those before it have
    ended, at the point that Optuna's TPE suggests from what this optimizer reached on this problem with this seed.
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
        """How many trials a seed begins with: all of them, where none is to learn from others."""
        return min(self.startup, self.trials) if self.sampler == "tpe" else self.trials

    @property
    def adaptive(self) -> bool:
        """Whether what runs depends on what the trials before reached."""
        return self.sampler == "tpe" or self.pruning is not None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.sampler == "tpe" and self.pruning is not None:
            raise ValueError("pruning holds all trials against each other at once, and tpe makes them one by one")
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, content: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_defaults(Search, content(self), _LATER)


class Target(Part):
    """The validation cost that counts as arrived: `cost`, or found in the study's own runs by AlgoPerf's rule.

    The rule: of the `references` (optimizers by name; all, where none is named) the best one's median over seeds of the
    best cost within `share` of the budget.
    """

    cost: float | None = None
    references: list[Key] = Field(default_factory=list, max_length=100)
    share: float = Field(0.75, gt=0, le=1)


def without_defaults(kind: type[BaseModel], content: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Content without those of the fields that are at their default, so that it reads as before they came."""
    return {
        key: value
        for key, value in content.items()
        if key not in names or value != kind.model_fields[key].get_default(call_default_factory=True)
    }
