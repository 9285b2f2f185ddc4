"""Baselines: what is reached without a network."""

from collections.abc import Callable
from math import log
from typing import Any

import numpy as np
import pytest

from talweg.datasets.baselines import baselines
from talweg.datasets.preparing import Prepared

Read = Callable[..., Prepared]
RNG = np.random.default_rng(0)


def by_name(made: Prepared) -> dict[str, Any]:
    return {one["name"]: one for one in baselines(made)}


def test_the_majority_class_has_its_share_and_the_entropy_of_the_classes(read_file: Read, npz: Any) -> None:
    targets = np.array(["a"] * 300 + ["b"] * 100)
    found = by_name(read_file(npz(inputs=RNG.normal(size=(400, 3)), targets=targets), "npz"))
    majority = found["majority class"]["test"]
    assert majority["accuracy"] == 0.75
    entropy = -(0.75 * log(0.75) + 0.25 * log(0.25))
    assert majority["cost"] == pytest.approx(entropy, rel=0.01)
    # Nothing is to be learnt: the linear model is no better than guessing, and close to it.
    assert abs(found["linear model"]["test"]["cost"] - entropy) < 0.1


def test_a_linear_model_finds_lines(read_file: Read, npz: Any) -> None:
    inputs = RNG.normal(size=(400, 3))
    labels = np.where(inputs @ [1.0, -2.0, 0.5] > 0, "up", "down")
    found = by_name(read_file(npz(inputs=inputs, targets=labels), "npz"))
    assert found["linear model"]["test"]["accuracy"] > 0.95 > 0.7 > found["majority class"]["test"]["accuracy"]
    values = inputs @ [1.0, -2.0, 0.5] + 7
    found = by_name(read_file(npz(inputs=inputs, targets=values), "npz"))
    assert found["mean"]["validation"]["cost"] == pytest.approx(1, abs=0.3)
    assert found["linear model"]["validation"]["cost"] < 1e-3
    assert found["mean"]["test"]["accuracy"] is None


def test_more_inputs_than_rows_have_a_linear_model_too(read_file: Read, npz: Any) -> None:
    inputs = RNG.normal(size=(60, 500))
    found = by_name(read_file(npz(inputs=inputs, targets=inputs[:, 0] + inputs[:, 1]), "npz"))
    assert np.isfinite(found["linear model"]["test"]["cost"])


def test_the_linear_models_are_those_of_scikit_learn(read_file: Read, npz: Any) -> None:
    from sklearn.linear_model import LogisticRegression, Ridge

    inputs = RNG.normal(size=(300, 4))
    labels = (inputs[:, 0] + RNG.normal(size=300) > 0).astype(int) + (inputs[:, 1] > 1)
    made = read_file(npz(inputs=inputs, targets=labels), "npz", standardise=False)
    train, test = (made.examples(made.rows(part, 1000)) for part in ("train", "test"))
    mean, deviation = train[0].mean(axis=0), train[0].std(axis=0)
    scaled = [(part[0] - mean) / deviation for part in (train, test)]
    model = LogisticRegression(C=1.0, max_iter=1000).fit(scaled[0], train[1])
    logs = model.predict_log_proba(scaled[1])
    expected = -logs[np.arange(len(test[1])), test[1]].mean()
    assert by_name(made)["linear model"]["test"]["cost"] == pytest.approx(expected, rel=1e-3)
    made = read_file(npz(inputs=inputs, targets=inputs[:, 0] ** 2), "npz", standardise=False)
    train, test = (made.examples(made.rows(part, 1000)) for part in ("train", "test"))
    mean, deviation = train[0].mean(axis=0), train[0].std(axis=0)
    scaled = [np.column_stack([(part[0] - mean) / deviation, np.ones(len(part[0]))]) for part in (train, test)]
    line = Ridge(alpha=1.0, fit_intercept=False).fit(scaled[0], train[1])
    expected = ((line.predict(scaled[1]).reshape(-1, 1) - test[1]) ** 2).mean()
    assert by_name(made)["linear model"]["test"]["cost"] == pytest.approx(expected, rel=1e-9)
