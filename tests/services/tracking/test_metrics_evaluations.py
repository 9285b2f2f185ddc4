"""Evaluations are counted from the first step, whatever the portions."""

from collections.abc import Callable

import numpy as np
import pytest

from talweg.records import evaluations_between
from talweg.store import RunRow, Store
from talweg.tracking import metrics
from talweg.tracking.metrics import EvaluationCounts


@pytest.mark.parametrize("optimizer", ["adam", "sam", "lbfgs"])
def test_portions_count_what_the_whole_does(
    local: Store, trained: Callable[..., RunRow], monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    monkeypatch.setattr(metrics, "AT_ONCE", 7)
    run = trained(problem="rosenbrock", optimizer=optimizer, steps=70)
    made = evaluations_between(local, run, 0, run.step)
    assert (made.sum() == run.step) == (optimizer == "adam")
    expected = np.cumsum(made.sum(axis=1))
    one_after_another = EvaluationCounts(local)
    for first, stop in ((0, 10), (10, 45), (45, 45), (45, run.step)):
        np.testing.assert_array_equal(one_after_another.so_far(run, first, stop), expected[first:stop])
    # Again from before the last portion, and with an empty cache.
    np.testing.assert_array_equal(one_after_another.so_far(run, 20, 30), expected[20:30])
    np.testing.assert_array_equal(EvaluationCounts(local).so_far(run, 33, run.step), expected[33:])
