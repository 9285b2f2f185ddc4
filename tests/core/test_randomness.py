"""Counter-based random numbers."""

import itertools

import numpy as np

from talweg_core.randomness import stream


def test_equal_keys_give_equal_draws() -> None:
    assert np.array_equal(stream(3, "order", 7).random(100), stream(3, "order", 7).random(100))


def test_streams_of_different_keys_differ() -> None:
    keys = [(seed, purpose, index) for seed in (0, 1) for purpose in ("order", "noise") for index in (0, 1)]
    draws = [stream(*key).random(100) for key in keys]  # type: ignore[arg-type]  # the purposes are literals
    for first, second in itertools.combinations(draws, 2):
        # 100 independent pairs of uniform numbers: |correlation| above 0.5 has a chance below 1e-6.
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.5


def test_the_stream_is_the_one_that_stored_runs_were_made_with() -> None:
    # If this changes, no stored run can be replayed.
    assert stream(0, "parameters").random(2).tolist() == EXPECTED


EXPECTED = [0.9571882455256695, 0.5046790727899539]
