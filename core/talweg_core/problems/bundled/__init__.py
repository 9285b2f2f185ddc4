"""Small real datasets that travel with the engine; README.md names their sources and licences."""

from dataclasses import replace
from functools import cache
from importlib.resources import files

import numpy as np

from talweg_core.data import Dataset, split
from talweg_core.errors import UnknownName

NAMES = ("breast-cancer", "diabetes", "digits", "wine")


@cache
def load(name: str) -> Dataset:
    """The dataset of that name, split and scaled; raises UnknownName.

    digits: 1797 images (64,) of values in [0, 1], 10 classes. wine: (13,), 3 classes. breast-cancer: (30,),
    2 classes. diabetes: (10,), one real value. All but digits are standardised; the targets of diabetes too.
    """
    if name not in NAMES:
        raise UnknownName("dataset", name, NAMES)
    with (
        files(__package__).joinpath(f"{name}.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as held,
    ):
        inputs, targets = held["inputs"].astype(np.float64), held["targets"]
    if name == "digits":
        return split(name, inputs / 16, targets.astype(np.int64), standardise=False)
    if name == "diabetes":
        made = split(name, inputs, targets[:, None])
        train = targets[made.splits["train"]]
        return replace(made, targets=(made.targets - train.mean()) / train.std())
    return split(name, inputs, targets.astype(np.int64))
