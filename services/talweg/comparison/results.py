"""The input of a comparison as plain data: one Result a run, grouped by optimizer setting; and the settings' labels."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

SEPARATOR = " · "
Floats = NDArray[np.float64]
Steps = NDArray[np.int64]


def varying(optimizers: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The hyperparameters that take more than one value among the settings of the same optimizer.

    One that only some settings have, such as the key `around` with its wrappers, varies too. Values of different
    optimizers are not compared: RMSProp and Adam have different defaults for epsilon, but their names differ already.
    """
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for optimizer in optimizers:
        by_name.setdefault(str(optimizer["name"]), []).append(optimizer)
    return frozenset(
        key
        for settings in by_name.values()
        for key in {key for optimizer in settings for key in optimizer}
        if len({repr(optimizer.get(key)) for optimizer in settings}) > 1
    )


def label(optimizer: Mapping[str, Any], keys: Collection[str]) -> str:
    """`adam · learning_rate 0.003`: the name, then those of `keys` that this optimizer has, in order."""
    settings = [f"{key} {number(value)}" for key, value in optimizer.items() if key in keys and key != "name"]
    return SEPARATOR.join([str(optimizer["name"]), *settings])


def number(value: object) -> str:
    """A setting's value, short: 0.003, 1e-8, 1000, yes; a wrapper with its settings as `sam rho 0.05`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(number, value))
    if isinstance(value, Mapping):
        settings = (f"{key} {number(inner)}" for key, inner in value.items() if key != "name")
        return " ".join([*([str(value["name"])] if "name" in value else []), *settings])
    if not isinstance(value, float):
        return str(value)
    text = f"{value:.6g}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else text


@dataclass(frozen=True, eq=False)
class Evaluations:
    """The evaluations on one split of the data: steps (n,) ascending, costs (n,), metrics (n,) or None."""

    steps: Steps
    costs: Floats
    metrics: Floats | None = None


@dataclass(frozen=True, eq=False)
class Costs:
    """The costs of a run's steps 0 … n − 1, non-finite where it diverged; the array is read when it is asked for.

    So a sweep of many runs is ranked without reading every step of each.

    Attributes:
        count: n.
        first, last: NaN where n is 0.
        least: the least finite one, infinite where there is none.
        read: gives the array (n,).
    """

    count: int
    first: float
    last: float
    least: float
    read: Callable[[], Floats]

    @classmethod
    def of(cls, values: ArrayLike) -> "Costs":
        """The costs (n,) that are in memory."""
        array = np.asarray(values, dtype=np.float64)
        finite = array[np.isfinite(array)]
        first, last = (float(array[0]), float(array[-1])) if array.size else (math.nan, math.nan)
        return cls(array.size, first, last, float(finite.min()) if finite.size else math.inf, lambda: array)

    @property
    def array(self) -> Floats:
        """(n,) all of them."""
        return self.read()

    def until(self, steps: int) -> "Costs":
        """Those of the steps before `steps`."""
        return self if steps >= self.count else Costs.of(self.array[:steps])


@dataclass(frozen=True, eq=False)
class Result:
    """One run, as input of a comparison.

    Attributes:
        optimizer: its name under "name", then every hyperparameter.
        costs: of each step, on its batch.
        evaluations: by split ("validation", "test").
        metric: the name of `Evaluations.metrics` ("accuracy"), None where there are none.
        contender: the position in the study of its optimizer, whose setting may be tuned; None: matched by `optimizer`.
        problem: its name; runs of several problems are never averaged together.
        stage: "final", or "tuning" for a run that only chooses settings.
        trial: the number of its trial in a search, else None.
        steps: the number of steps planned.
        batch_size: examples behind a gradient, None where there are none.
        evaluations_made: (n, 3) gradients, costs and Hessian products of each step; None: one gradient each.
        seconds: (n,) time of each step, without recording and evaluation; None where it was not kept.
        blown_up: how many times above its start the run ended, where that is far (see `divergence`); else 0.
    """

    run: str
    optimizer: Mapping[str, Any]
    seed: int
    state: str
    stop_reason: str | None
    costs: Costs
    evaluations: Mapping[str, Evaluations] = field(default_factory=dict)
    metric: str | None = None
    contender: int | None = None
    problem: str = ""
    stage: str = "final"
    trial: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    evaluations_made: NDArray[np.int64] | None = None
    seconds: Floats | None = None
    blown_up: float = 0.0

    @property
    def diverged(self) -> bool:
        """It ended because its cost or gradient was no longer finite."""
        return self.stop_reason == "diverged"

    @property
    def pruned(self) -> bool:
        """Successive halving ended it, since other trials of its search were better: neither failed nor diverged."""
        return self.stop_reason == "pruned"

    @property
    def failed_to_train(self) -> bool:
        """It diverged, or ended far above its start: it counts as infinitely costly, and is in no mean."""
        return self.diverged or self.blown_up > 0

    @property
    def complete(self) -> bool:
        """It finished and trained; only such runs enter a score."""
        return self.state == "finished" and not self.failed_to_train and not self.pruned

    @property
    def counts(self) -> bool:
        """It enters a curve: it is complete or running."""
        return self.complete or self.state == "running"


@dataclass(frozen=True, eq=False)
class Group:
    """The runs of one optimizer setting, which differ in their seed only.

    `variant` numbers the settings of the same optimizer, from 0: they share a hue.
    """

    label: str
    optimizer: Mapping[str, Any]
    variant: int
    results: tuple[Result, ...]

    @property
    def name(self) -> str:
        """The optimizer's name."""
        return str(self.optimizer["name"])

    @property
    def diverged(self) -> int:
        """The number of its runs that diverged."""
        return sum(result.diverged for result in self.results)

    @property
    def blown_up(self) -> int:
        """How many of its runs ended far above their start."""
        return sum(result.blown_up > 0 for result in self.results)


def groups(results: Sequence[Result]) -> list[Group]:
    """The results by optimizer setting, in the order in which the settings first appear."""
    settings: dict[str, list[Result]] = {}
    for result in results:
        settings.setdefault(repr(sorted(result.optimizer.items())), []).append(result)
    optimizers = [members[0].optimizer for members in settings.values()]
    keys, counts = varying(optimizers), Counter(str(optimizer["name"]) for optimizer in optimizers)
    seen: Counter[str] = Counter()
    grouped = []
    for optimizer, members in zip(optimizers, settings.values(), strict=True):
        name = str(optimizer["name"])
        grouped.append(
            Group(label(optimizer, () if counts[name] == 1 else keys), optimizer, seen[name], tuple(members))
        )
        seen[name] += 1
    return grouped
