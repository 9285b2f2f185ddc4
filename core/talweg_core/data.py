"""Datasets, their splits, and the batches of any step."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from talweg_core.errors import InvalidCohort, InvalidProblem
from talweg_core.layout import Array
from talweg_core.randomness import stream

Targets = NDArray[np.floating] | NDArray[np.int64]
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples: inputs (n, *shape) in float64, targets (n,) labels or (n, outputs) values, and the splits."""

    name: str
    inputs: Array
    targets: Targets
    splits: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    @property
    def classes(self) -> int:
        """The number of classes where targets are labels, else 0."""
        return int(self.targets.max()) + 1 if self.targets.dtype.kind == "i" else 0

    def part(self, split: str) -> tuple[Array, Targets]:
        """Inputs and targets of a split; raises InvalidProblem for an unknown one."""
        if split not in self.splits:
            raise InvalidProblem(f"{self.name}: the split must be one of {sorted(self.splits)}, got {split!r}")
        chosen = self.splits[split]
        return self.inputs[chosen], self.targets[chosen]


def split(name: str, inputs: Array, targets: Targets, *, seed: int = 0, standardise: bool = True) -> Dataset:
    """A dataset split 70 : 15 : 15 by the dataset's seed, never by a run's.

    With `standardise`, each input column is scaled to mean 0 and standard deviation 1 on the training split.
    """
    n = len(inputs)
    order = stream(seed, "data").permutation(n)
    first, second = n * 70 // 100, n * 85 // 100
    parts = dict(zip(SPLITS, np.split(order, [first, second]), strict=True))
    if standardise:
        train = inputs[parts["train"]]
        deviation = train.std(axis=0)
        inputs = (inputs - train.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    return Dataset(name, inputs, targets, parts)


class Batches:
    """The batches of R runs. An epoch's order depends on (seed, "order", epoch) alone, so any step can be computed.

    An epoch has ⌊n / batch⌋ steps; the remaining examples of its order are dropped.
    """

    def __init__(self, examples: int, size: int, seeds: Sequence[int]) -> None:
        """For `examples` n ≥ `size` B; runs with equal seeds have equal batches. Raises InvalidCohort."""
        if not 1 <= size <= examples:
            raise InvalidCohort(f"batch_size: must lie between 1 and the {examples} training examples, got {size}")
        self.size = size
        # One row where every run has the same seed: all runs then share one batch.
        self.seeds = list(seeds[:1]) if len(set(seeds)) == 1 else list(seeds)
        self._examples = examples
        self._epoch = -1
        self._orders = np.empty((len(self.seeds), examples), dtype=np.int64)

    @property
    def epoch_steps(self) -> int:
        """Steps in an epoch."""
        return self._examples // self.size

    def at(self, step: int) -> NDArray[np.int64]:
        """Indices (R or 1, B) of the training examples of step `step`; 1 row where all runs share them."""
        epoch, k = divmod(step, self.epoch_steps)
        if epoch != self._epoch:
            drawn = {seed: stream(seed, "order", epoch).permutation(self._examples) for seed in set(self.seeds)}
            for row, seed in enumerate(self.seeds):
                self._orders[row] = drawn[seed]
            self._epoch = epoch
        return self._orders[:, k * self.size : (k + 1) * self.size]


Precision = Literal["float32", "float64"]
