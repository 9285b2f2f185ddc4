"""Divide rows into training, validation and test parts: by class, by group, in order, or as a column says."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from talweg.datasets.columns import Column
from talweg.errors import InvalidSpec

Parts = NDArray[np.uint8]
# As the engine names them; it is not loaded here, which would double the time of an upload.
SPLITS: Final = ("train", "validation", "test")
# Shares of 100 rows at which training and validation end.
_FIRST: Final = 70
_SECOND: Final = 85
# Classes that are named, where a part lacks many.
_NAMED: Final = 10
_WORDS: Final = {
    "train": 0, "training": 0, "tr": 0, "fit": 0,
    "validation": 1, "valid": 1, "val": 1, "dev": 1, "eval": 1, "tune": 1,
    "test": 2, "testing": 2, "holdout": 2, "te": 2,
}  # fmt: skip
# What a part may be called, in small letters.
PART_NAMES: Final = frozenset(_WORDS)


def random(rows: int, seed: int) -> Parts:
    """70 : 15 : 15 in a random order."""
    return _by_position(_generator(seed).permutation(rows))


def stratified(codes: NDArray[np.int64], seed: int) -> Parts:
    """70 : 15 : 15 of each class (n,), and at least one row of each in validation and test where it has three."""
    order = _generator(seed).permutation(len(codes))
    parts = np.zeros(len(codes), np.uint8)
    # Stable: the rows of a class keep the random order.
    by_class = order[np.argsort(codes[order], kind="stable")]
    for rows in np.split(by_class, np.cumsum(np.bincount(codes))[:-1]):
        count = len(rows)
        if count < len(SPLITS):
            continue
        each = max(1, round(count * (100 - _SECOND) / 100))
        parts[rows[:each]], parts[rows[each : 2 * each]] = 1, 2
    return parts


def by_group(column: Column, seed: int) -> Parts:
    """70 : 15 : 15, with all rows of a group in one part; raises InvalidSpec where that leaves a part empty."""
    groups = identities(column)
    count = int(groups.max()) + 1
    if count < len(SPLITS):
        raise InvalidSpec(f"groups: {column.name!r} must have 3 groups at least, one for each part, got {count}")
    order = _generator(seed).permutation(count)
    sizes = np.bincount(groups, minlength=count)[order]
    # A group belongs where its middle lies, when groups are laid one after another.
    middles = (np.cumsum(sizes) - sizes / 2) * 100 / len(groups)
    part_of = np.zeros(count, np.uint8)
    part_of[order] = np.digitize(middles, [_FIRST, _SECOND])
    for part in (0, 1, 2):
        if not (part_of == part).any():
            # Few or large groups: the smallest ones of the training part, or the largest of another, fill it.
            giver = int(np.argmax(np.bincount(part_of, minlength=3)))
            members = order[part_of[order] == giver]
            part_of[min(members, key=lambda group: int((groups == group).sum()))] = part
    return part_of[groups]


def in_order(column: Column) -> Parts:
    """The first 70 % of the rows by the column's order for training, the last 15 % for the test."""
    if column.kind == "category":
        rank = np.argsort(np.argsort(np.array(column.words, dtype=object), kind="stable"), kind="stable")
        values = rank[column.values].astype(float)
        missing = column.values < 0
    else:
        values, missing = column.values, np.isnan(column.values)
    if missing.any():
        raise InvalidSpec(
            f"order_by: {column.name!r} must have a value in every row, row {int(np.argmax(missing))} "
            "(counted from 0) has none; fill it in, or leave the row out"
        )
    positions = np.empty(len(values), np.int64)
    positions[np.argsort(values, kind="stable")] = np.arange(len(values))
    return _by_position(np.argsort(positions, kind="stable"))


def given(column: Column, codes: NDArray[np.int64] | None, seed: int) -> tuple[Parts, str]:
    """The parts that a column names, and what was done where it names no validation part; raises InvalidSpec."""
    words = column.words if column.kind == "category" else ()
    part_of = [_WORDS.get(word.lower()) for word in words]
    if column.kind != "category" or None in part_of or column.missing:
        bad = next((word for word, part in zip(words, part_of, strict=True) if part is None), None)
        said = f"got {bad[:40]!r}" if bad is not None else "some rows have none" if column.missing else "got none"
        raise InvalidSpec(f"split: {column.name!r} must hold train, validation or test in every row, {said}")
    parts = np.array(part_of, np.uint8)[column.values]
    present = set(np.unique(parts).tolist())
    if present == {0, 2} or present == {0, 1}:
        # Take the part that is not named from training: settings must not be chosen on the test part.
        absent = 1 if present == {0, 2} else 2
        training = np.flatnonzero(parts == 0)
        inner = random(len(training), seed) if codes is None else stratified(codes[training], seed)
        parts[training[inner == 1]] = absent
        return parts, f"{SPLITS[absent]} taken from the rows for training"
    if present != {0, 1, 2}:
        raise InvalidSpec(
            f"split: {column.name!r} must name rows for training and for the test, got only "
            f"{', '.join(SPLITS[part] for part in sorted(present))}"
        )
    return parts, ""


def identities(column: Column) -> NDArray[np.int64]:
    """(n,) a number for each different value; missing ones share one."""
    values = column.values if column.kind == "category" else np.nan_to_num(column.values, nan=-np.inf)
    return np.asarray(np.unique(values, return_inverse=True)[1], np.int64)


def rare_classes(codes: NDArray[np.int64], classes: Sequence[object], parts: Parts) -> list[str]:
    """A sentence for each class that a part lacks, with its number of rows."""
    counts = np.stack([np.bincount(codes[parts == part], minlength=len(classes)) for part in (0, 1, 2)])
    said = []
    rare = np.flatnonzero((counts == 0).any(axis=0)).tolist()
    for position in rare[:_NAMED]:
        own = counts[:, position]
        lacking = " and ".join(SPLITS[part] for part in (0, 1, 2) if not own[part])
        said.append(f"class {str(classes[position])!r} has {_rows(int(own.sum()))}: none in {lacking}")
    return said if len(rare) <= _NAMED else [*said, f"and {len(rare) - _NAMED} more classes that a part lacks"]


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def check(parts: Parts) -> None:
    """Raise InvalidSpec where a part has no row."""
    counts = np.bincount(parts, minlength=3).tolist()
    if 0 in counts:
        raise InvalidSpec(f"split: each part must have a row, got {counts[0]} : {counts[1]} : {counts[2]}")


def _generator(seed: int) -> np.random.Generator:
    """Philox, whose numbers NumPy keeps from version to version."""
    return np.random.Generator(np.random.Philox(key=seed))


def _by_position(order: NDArray[Any]) -> Parts:
    rows = len(order)
    parts = np.zeros(rows, np.uint8)
    parts[order[rows * _FIRST // 100 :]] = 1
    parts[order[rows * _SECOND // 100 :]] = 2
    return parts
