"""Instruments: columns, tables, a figure, and errors with the valid names."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from talweg.client import Lab, Run
from talweg.client.analysis import STEPS, Readings
from talweg.errors import InvalidSpec


@pytest.fixture(scope="module")
def run(lab: Lab, train: Callable[[], None]) -> Run:
    """A finished run of 150 steps."""
    run = lab.submit(problem="wine-mlp", optimizer="adam", steps=150, record="replay")
    train()
    return run.wait(progress=False)


@pytest.fixture(scope="module")
def readings(run: Run) -> Readings:
    """All instruments, where no steps are named."""
    return run.instruments()


def test_without_names_all_instruments_are_read_at_evenly_spaced_steps(run: Run, readings: Readings) -> None:
    assert len(readings) == STEPS
    assert readings.steps.tolist() == list(range(0, 150, 3))
    norms: dict[str, Any] = dict(run.norms)
    np.testing.assert_allclose(readings["gradient_norm"], norms["gradient"][::3], rtol=1e-12)
    np.testing.assert_allclose(readings["update_ratio"], (norms["update"] / norms["parameters"])[::3], rtol=1e-12)
    assert list(readings) == [
        "gradient_norm", "update_ratio", "distance", "gradient_cosine", "gradient_snr", "alpha", "hessian_eigenvalue",
        "gradient_histogram", "parameter_histogram",
    ]  # fmt: skip
    sizes = [int(np.prod(shape)) for shape in run.shapes.values()]
    assert readings["parameter_histogram"].sum(axis=1).tolist() == [sum(sizes)] * STEPS
    assert readings["parameter_histogram"].shape == (STEPS, len(readings.edges["parameter_histogram"]) + 1)
    assert (readings["gradient_snr"] > 0).all()
    assert np.isfinite(readings["hessian_eigenvalue"]).all()


def test_steps_are_selected_by_a_slice(run: Run) -> None:
    some = run.instrument("alpha", steps=slice(-30, None, 7))
    assert some.steps.tolist() == [120, 127, 134, 141, 148]
    assert run.instrument("alpha", steps=-2)["alpha"].tolist() == some["alpha"][-1:].tolist()
    assert np.isnan(run.instrument("alpha", steps=149)["alpha"]).tolist() == [True]


def test_tables_hold_the_readings(run: Run, readings: Readings) -> None:
    assert readings.table.columns == (
        "step", "gradient_norm", "update_ratio", "distance", "gradient_cosine", "gradient_snr", "alpha",
        "hessian_eigenvalue",
    )  # fmt: skip
    frame = readings.to_pandas()
    assert frame["distance.dense1.weight"].to_numpy()[0] == 0
    assert frame["gradient_cosine"].isna().tolist()[:2] == [True, False]
    assert len(frame.columns) == 1 + len(readings.values)
    assert readings.to_arrow().column("step").to_pylist() == readings.steps.tolist()
    assert str(run.instrument("distance", steps=0)).split() == ["step", "distance", "0", "0"]


def test_a_page_shows_a_figure_and_a_table(readings: Readings) -> None:
    shown = readings._repr_html_()
    assert shown.count("<svg") == 1
    assert "<script" not in shown
    assert "<summary>50 steps</summary><table" in shown
    figure = readings.figure()
    assert [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()] == list(readings)


def test_a_problem_without_examples_leaves_out_that_instrument(lab: Lab, train: Callable[[], None]) -> None:
    valley = lab.submit(problem="rosenbrock", optimizer="adam", steps=20)
    train()
    readings = valley.instruments()
    assert "gradient_snr" not in list(readings)
    assert "rosenbrock has no examples, so its gradient has no noise" in readings._repr_html_()
    with pytest.raises(InvalidSpec, match="gradient_snr: rosenbrock has no examples"):
        valley.instrument("gradient_snr")


def test_an_unknown_instrument_or_step_is_refused_with_the_valid_ones(run: Run, readings: Readings) -> None:
    with pytest.raises(InvalidSpec, match="did you mean 'gradient_cosine'"):
        run.instrument("gradient_cosin")
    with pytest.raises(InvalidSpec, match=r"step: an index must lie in \[0, 149\], got 150"):
        run.instrument("alpha", steps=150)
    with pytest.raises(InvalidSpec, match="must have a positive stride"):
        run.instrument("alpha", steps=slice(None, None, -1))
    with pytest.raises(InvalidSpec, match="selects none of the 150 steps"):
        run.instrument("alpha", steps=slice(5, 5))
    with pytest.raises(InvalidSpec, match=r"readings: must be one of gradient_norm, .*parameter_histogram, got 'loss'"):
        readings["loss"]
