"""Small real datasets bundled with the engine; README.md names their sources and licences."""

from dataclasses import replace
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from talweg_core.data import Dataset, split
from talweg_core.errors import UnknownName

NAMES = ("breast-cancer", "characters", "diabetes", "digits", "wine")

# Characters in a window, and between the starts of two training windows.
_LENGTH, _APART = 32, 4


@cache
def load(name: str) -> Dataset:
    """The bundled dataset of that name, split and scaled; raises UnknownName.

    digits: 1797 images (64,) of values in [0, 1], 10 classes. wine: (13,), 3 classes. breast-cancer: (30,),
    2 classes. diabetes: (10,), one real value; the inputs of these three are standardised, the targets of diabetes too.
    characters: windows (32,) of a text as numbers; the targets are the windows one character later.
    """
    if name not in NAMES:
        raise UnknownName("dataset", name, NAMES)
    if name == "characters":
        return _characters(files(__package__).joinpath("talweg.txt").read_text(encoding="utf-8").lower())
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


def _characters(text: str) -> Dataset:
    """Windows of a text split 70 : 15 : 15 from start to end; training windows overlap, the others do not."""
    alphabet = sorted(set(text))
    numbers = np.array([alphabet.index(character) for character in text])
    first, second = len(text) * 70 // 100, len(text) * 85 // 100
    parts: dict[str, NDArray[np.int64]] = {}
    starts: list[int] = []
    for part, begin, end, apart in (
        ("train", 0, first, _APART),
        ("validation", first, second, _LENGTH),
        ("test", second, len(text), _LENGTH),
    ):
        found = list(range(begin, end - _LENGTH, apart))
        parts[part] = np.arange(len(starts), len(starts) + len(found))
        starts += found
    positions = np.array(starts)[:, None] + np.arange(_LENGTH)
    return Dataset("characters", numbers[positions].astype(np.float64), numbers[positions + 1], parts)
