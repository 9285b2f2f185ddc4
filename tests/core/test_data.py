"""Datasets: splits by the dataset's seed, batches by the run's."""

from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg_core.data import SPLITS, Batches, split
from talweg_core.errors import InvalidCohort, InvalidProblem, UnknownName
from talweg_core.problems import bundled

SIZES = {
    "characters": (1489, 32, 30),
    "breast-cancer": (569, 30, 2),
    "diabetes": (442, 10, 0),
    "digits": (1797, 64, 10),
    "wine": (178, 13, 3),
}


@given(n=st.integers(1, 60), size=st.integers(1, 60), seeds=st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_an_epoch_holds_every_example_at_most_once(n: int, size: int, seeds: list[int]) -> None:
    if size > n:
        with pytest.raises(InvalidCohort, match="batch_size"):
            Batches(n, size, seeds)
        return
    batches = Batches(n, size, seeds)
    assert batches.epoch_steps == n // size
    epoch = np.concatenate([batches.at(step) for step in range(batches.epoch_steps)], axis=1)
    for row in epoch:
        assert len(set(row.tolist())) == row.size
        assert set(row.tolist()) <= set(range(n))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12))
def test_a_batch_depends_on_its_step_and_not_on_those_before(steps: list[int]) -> None:
    wandering = Batches(23, 4, [0, 7])
    for step in steps:
        assert np.array_equal(wandering.at(step), Batches(23, 4, [0, 7]).at(step))


def test_every_epoch_has_another_order() -> None:
    batches = Batches(32, 32, [0])
    first, second = batches.at(0).copy(), batches.at(1).copy()
    assert sorted(first[0]) == sorted(second[0])
    assert not np.array_equal(first, second)


@settings(max_examples=20)
@given(st.permutations([0, 1, 2, 3]))
def test_a_seed_has_the_same_batches_with_any_other_seeds(seeds: list[int]) -> None:
    together = Batches(50, 8, seeds).at(13)
    for row, seed in enumerate(seeds):
        assert np.array_equal(together[row], Batches(50, 8, [seed]).at(13)[0])


def test_runs_of_one_seed_share_one_batch() -> None:
    assert Batches(50, 8, [3, 3, 3]).at(0).shape == (1, 8)
    assert Batches(50, 8, [3, 4, 3]).at(0).shape == (3, 8)


@pytest.mark.parametrize("name", bundled.NAMES)
def test_a_bundled_dataset_has_the_size_that_its_source_states(name: str) -> None:
    dataset = bundled.load(name)
    examples, features, classes = SIZES[name]
    assert dataset.inputs.shape == (examples, features)
    assert dataset.inputs.dtype == np.float64
    assert np.isfinite(dataset.inputs).all()
    assert dataset.classes == classes


@pytest.mark.parametrize("name", sorted(set(bundled.NAMES) - {"characters"}))
def test_splits_part_the_examples_seventy_fifteen_fifteen(name: str) -> None:
    dataset = bundled.load(name)
    n = len(dataset.inputs)
    parts = [dataset.splits[part] for part in SPLITS]
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    for part, share in zip(parts, (0.70, 0.15, 0.15), strict=True):
        assert abs(len(part) - share * n) <= 1


def test_standardised_inputs_are_so_on_the_training_split() -> None:
    inputs, _ = bundled.load("wine").part("train")
    assert np.allclose(inputs.mean(axis=0), 0, atol=1e-12)
    assert np.allclose(inputs.std(axis=0), 1, atol=1e-12)


def test_digits_keep_their_range() -> None:
    inputs = bundled.load("digits").inputs
    assert inputs.min() == 0
    assert inputs.max() == 1


def test_the_targets_of_a_window_are_one_character_later_and_no_window_spans_two_splits() -> None:
    dataset = bundled.load("characters")
    assert np.array_equal(dataset.inputs[:, 1:], dataset.targets[:, :-1])
    text = (resources.files("talweg_core.problems.bundled") / "talweg.txt").read_text(encoding="utf-8").lower()
    alphabet = sorted(set(text))
    whole = ["".join(alphabet[int(k)] for k in row) for row in dataset.inputs]
    cut = len(text) * 70 // 100
    assert all(whole[k] in text[:cut] for k in dataset.splits["train"])
    assert not any(whole[k] in text[:cut] for k in dataset.splits["validation"])


def test_a_column_that_never_varies_becomes_zero_and_not_nan() -> None:
    dataset = split("flat", np.ones((20, 2)), np.zeros(20, dtype=np.int64))
    assert (dataset.inputs == 0).all()


def test_another_data_seed_gives_another_split() -> None:
    inputs, targets = np.arange(40.0)[:, None], np.zeros(40, dtype=np.int64)
    first, second = split("a", inputs, targets), split("a", inputs, targets, seed=1)
    assert not np.array_equal(first.splits["train"], second.splits["train"])


def test_an_unknown_split_or_dataset_is_refused() -> None:
    with pytest.raises(InvalidProblem, match=r"the split must be one of .*'validation'.* got 'dev'"):
        bundled.load("wine").part("dev")
    with pytest.raises(UnknownName, match="did you mean 'digits'"):
        bundled.load("digit")
