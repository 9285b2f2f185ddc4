"""How rows are divided into parts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from talweg.datasets import splits
from talweg.datasets.columns import Column
from talweg.datasets.preparing import Prepared
from talweg.errors import InvalidSpec

Read = Callable[..., Prepared]


def categories(words: list[str]) -> Column:
    names = sorted(set(words))
    return Column("c", "category", np.array([names.index(word) for word in words]), tuple(names))


def test_each_class_is_divided_as_the_whole_is() -> None:
    codes = np.repeat([0, 1, 2, 3], [700, 200, 97, 3])
    parts = splits.stratified(codes, seed=0)
    for code, count in enumerate((700, 200, 97, 3)):
        own = np.bincount(parts[codes == code], minlength=3)
        each = max(1, round(0.15 * count))
        assert own.tolist() == [count - 2 * each, each, each]
    assert np.array_equal(parts, splits.stratified(codes, seed=0))
    assert not np.array_equal(parts, splits.stratified(codes, seed=1))
    assert splits.rare_classes(codes, "abcd", parts) == []


def test_a_class_that_a_part_lacks_is_named_with_its_rows() -> None:
    codes = np.repeat([0, 1, 2], [50, 2, 1])
    said = splits.rare_classes(codes, ["many", "two", "one"], splits.stratified(codes, 0))
    assert said == [
        "class 'two' has 2 rows: none in validation and test", "class 'one' has 1 row: none in validation and test",
    ]  # fmt: skip
    many = np.arange(30)
    assert splits.rare_classes(many, many.tolist(), splits.random(30, 0))[10:] == [
        "and 20 more classes that a part lacks"
    ]


@pytest.mark.parametrize("sizes", [[1] * 60, [10] * 6, [50, 5, 5], [1, 1, 1], [3, 50, 3]])
def test_all_rows_of_a_group_are_in_one_part_and_no_part_is_empty(sizes: list[int]) -> None:
    words = [f"g{i}" for i, size in enumerate(sizes) for _ in range(size)]
    parts = splits.by_group(categories(words), seed=0)
    of_groups = {word: {int(part) for w, part in zip(words, parts, strict=True) if w == word} for word in set(words)}
    assert all(len(found) == 1 for found in of_groups.values())
    assert set(parts.tolist()) == {0, 1, 2}


def test_two_groups_are_too_few() -> None:
    with pytest.raises(InvalidSpec, match="groups: 'c' must have 3 groups at least, one for each part, got 2"):
        splits.by_group(categories(["a", "b"] * 10), 0)


def test_the_last_rows_in_order_are_the_test_part() -> None:
    days = np.random.default_rng(0).permutation(20).astype(float)
    parts = splits.in_order(Column("day", "date", days))
    assert [parts[days == day].item() for day in range(20)] == [0] * 14 + [1] * 3 + [2] * 3
    assert splits.in_order(categories(list("tsrqponmlkjihgfedcba"))).tolist() == [2] * 3 + [1] * 3 + [0] * 14
    days[4] = np.nan
    with pytest.raises(InvalidSpec, match=r"order_by: 'day' must have a value in every row, row 4 \(counted from 0\)"):
        splits.in_order(Column("day", "date", days))


def test_a_column_may_say_the_part() -> None:
    parts, note = splits.given(categories(["Train", "VAL", "test"] * 7), None, 0)
    assert (parts.tolist(), note) == ([0, 1, 2] * 7, "")
    parts, note = splits.given(categories(["train"] * 20 + ["test"] * 5), None, 0)
    assert (np.bincount(parts).tolist(), note) == ([17, 3, 5], "validation taken from the rows for training")
    assert parts[20:].tolist() == [2] * 5
    for words, said in ((["train", "tset"], "got 'tset'"), (["train"], "got only train")):
        with pytest.raises(InvalidSpec, match=f"split: 'c' must .*{said}"):
            splits.given(categories(words * 10), None, 0)


def table(rows: int = 60) -> bytes:
    lines = [f"{i % 7},p{i // 6},{i},{('train', 'valid', 'test')[i % 3]},{'ab'[i % 2]}" for i in range(rows)]
    return "\n".join(["x,patient,day,split,y", *lines]).encode()


@pytest.mark.parametrize(
    ("options", "by", "left_out"),
    [
        ({}, "column split", "split"),
        ({"split": "split"}, "column split", "split"),
        ({"groups": "patient"}, "group patient", "patient"),
        ({"order_by": "day"}, "order of day", None),
        ({"columns": {"split": "leave out"}}, "class", "split"),
    ],
)
def test_a_table_is_split_as_asked(read_file: Read, options: dict[str, Any], by: str, left_out: str | None) -> None:
    made = read_file(table(), "csv", **options)
    assert made.split_by == by
    assert left_out is None or left_out not in (made.columns or [])
    assert set(made.parts.tolist()) == {0, 1, 2}


def test_only_one_way_to_split_may_be_asked_for_and_arrays_have_no_columns(read_file: Read, npz: Any) -> None:
    with pytest.raises(InvalidSpec, match="split: only one of groups, order_by and split"):
        read_file(table(), "csv", groups="patient", order_by="day")
    with pytest.raises(InvalidSpec, match="groups: needs columns with names"):
        read_file(npz(), "npz", groups="patient")
