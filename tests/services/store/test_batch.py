"""The record policy, and the steps of kept checkpoints."""

import pytest

from talweg.store.batch import CHUNK_STEPS, FULL_VALUES, checkpoint_every, resolve


def test_auto_stores_everything_up_to_four_million_values() -> None:
    steps = FULL_VALUES // 2 // 10
    assert resolve("auto", 10, steps) == "full"
    assert resolve("auto", 10, steps + 1) == "replay"


def test_an_explicit_policy_is_kept() -> None:
    assert resolve("full", 10**6, 10**6) == "full"
    assert resolve("replay", 1, 1) == "replay"


@pytest.mark.parametrize("record", ["full", "replay"])
@pytest.mark.parametrize("size", [1, 4_810, 1_000_000])
@pytest.mark.parametrize("steps", [1, 500, 1_000_000])
def test_checkpoints_lie_on_chunk_boundaries_and_hold_a_bounded_volume(record: str, size: int, steps: int) -> None:
    every = checkpoint_every(record, size, steps)  # type: ignore[arg-type]  # parametrised as plain strings
    assert every % CHUNK_STEPS == 0
    assert 3 * size * (steps // every) <= 64_000_000
