"""Every layer against central differences in float64, over drawn shapes and settings; see test_network_gradients.py.

Where a layer takes inputs from another, a dense layer stands before it, so that ∂C/∂x is checked as well.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from talweg_core.checks import check_gradient
from talweg_core.errors import InvalidNetwork
from talweg_core.layers import CATALOGUE
from talweg_core.layout import Array
from talweg_core.problems import NetworkProblem
from talweg_core.randomness import stream

TOLERANCE = 1e-6
Case = tuple[tuple[int, ...], list[dict[str, Any]], int]

small = st.integers(1, 4)
sides = st.integers(2, 5)


@st.composite
def images(draw: st.DrawFn, layer: dict[str, Any], least: int = 1) -> Case:
    """A layer between two convolutions, on images."""
    shape = (draw(small), draw(st.integers(least, least + 3)), draw(st.integers(least, least + 3)))
    before = {"layer": "conv2d", "channels": draw(small), "size": 1}
    return shape, [before, layer, {"layer": "tanh"}, {"layer": "flatten"}, {"layer": "dense", "units": 2}], 0


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    """Any size, stride and padding; `alone` as the first layer, where ∂C/∂x is not needed."""
    size = draw(st.integers(1, 3))
    described = {
        "layer": "conv2d",
        "channels": draw(small),
        "size": size,
        "stride": draw(st.integers(1, 3)),
        "padding": draw(st.integers(0, size - 1)),
        "bias": draw(st.booleans()),
    }
    shape, layers, _ = draw(images(described, least=3))
    return shape, layers[1:] if draw(st.booleans()) else layers, 0


@st.composite
def pools(draw: st.DrawFn, name: str) -> Case:
    """Windows that overlap, touch or have gaps."""
    described = {"layer": name, "size": draw(st.integers(1, 3)), "stride": draw(st.integers(0, 3))}
    case: Case = draw(images(described, least=3))
    return case


@st.composite
def vectors(draw: st.DrawFn, layer: dict[str, Any]) -> Case:
    """A layer between two dense ones, on vectors."""
    before = {"layer": "dense", "units": draw(sides)}
    return (draw(small),), [before, layer, {"layer": "tanh"}, {"layer": "dense", "units": 2}], 0


@st.composite
def sequences(draw: st.DrawFn, /, name: str, **more: Any) -> Case:
    """A layer over (T, units), after a dense one or as the first."""
    before = [{"layer": "dense", "units": 4}] if draw(st.booleans()) else []
    shape = (draw(small), 4 if name == "self_attention" else draw(small))
    return shape, [*before, {"layer": name, **more}, {"layer": "dense", "units": 2}], 0


@st.composite
def attentions(draw: st.DrawFn) -> Case:
    """1, 2 or 4 heads over 4 units."""
    case: Case = draw(sequences("self_attention", heads=draw(st.sampled_from([1, 2, 4]))))
    return case


@st.composite
def recurrences(draw: st.DrawFn, name: str) -> Case:
    """Up to 4 units over up to 4 times."""
    case: Case = draw(sequences(name, units=draw(small)))
    return case


@st.composite
def embeddings(draw: st.DrawFn) -> Case:
    """Indices of a small vocabulary, so that some occur twice."""
    vocabulary, units = draw(small), draw(small)
    table = {"layer": "embedding", "vocabulary": vocabulary, "units": units, "positions": draw(st.booleans())}
    return (draw(small),), [{**table, "initial": "he"}, {"layer": "tanh"}, {"layer": "dense", "units": 2}], vocabulary


@st.composite
def gaussians(draw: st.DrawFn) -> Case:
    """The middle of an autoencoder."""
    size = draw(small)
    before = {"layer": "dense", "units": 2 * size}
    layer = {"layer": "gaussian", "weight": draw(st.floats(0, 2))}
    return (draw(small),), [before, layer, {"layer": "dense", "units": 2}], 0


@st.composite
def residuals(draw: st.DrawFn) -> Case:
    """A block in a block; some contain a layer with a cost."""
    inner = {"layer": "residual", "layers": [{"layer": "dense", "units": 4}, {"layer": "tanh"}]}
    inside: list[dict[str, Any]] = [{"layer": "layer_norm"}, inner]
    if draw(st.booleans()):
        inside += [{"layer": "dense", "units": 8}, {"layer": "gaussian"}]
    before = [{"layer": "dense", "units": 4}] if draw(st.booleans()) else []
    return (4,), [*before, {"layer": "residual", "layers": inside}, {"layer": "dense", "units": 2}], 0


CASES: dict[str, st.SearchStrategy[Case]] = {
    "average_pool": pools("average_pool"),
    "batch_norm": st.one_of(images({"layer": "batch_norm"}), vectors({"layer": "batch_norm"})),
    "conv2d": convolutions(),
    "dense": vectors({"layer": "dense", "units": 3}),
    "dropout": vectors({"layer": "dropout", "rate": 0.3}),
    "embedding": embeddings(),
    "flatten": images({"layer": "flatten"}),
    "gaussian": gaussians(),
    "layer_norm": st.one_of(vectors({"layer": "layer_norm"}), sequences("layer_norm")),
    "lstm": recurrences("lstm"),
    "max_pool": pools("max_pool"),
    "recurrent": recurrences("recurrent"),
    "reshape": vectors({"layer": "reshape", "shape": [1, 1]}).map(
        lambda case: (case[0], [{"layer": "dense", "units": 6}, {"layer": "reshape", "shape": [2, 3]}, *case[1][2:]], 0)
    ),
    "residual": residuals(),
    "self_attention": attentions(),
}


@pytest.mark.parametrize("kind", sorted(CATALOGUE))
def test_every_layer_s_derivatives_are_those_of_its_outputs(
    kind: str, problem_of: Callable[..., NetworkProblem]
) -> None:
    @settings(derandomize=True, deadline=None, max_examples=25)
    @given(case=CASES[kind], seed=st.integers(0, 100))
    def holds(case: Case, seed: int) -> None:
        shape, layers, vocabulary = case
        problem = problem_of(shape, layers, seed=seed, vocabulary=vocabulary)
        start: Array = problem.initial(seed)
        # Away from the start: scales of 1 and shifts of 0 would hide an error in either.
        point = start + 0.1 * stream(seed, "check", 1).normal(size=start.shape)
        assert check_gradient(problem, parameters=point, seed=seed).worst <= TOLERANCE

    holds()


@pytest.mark.parametrize("kind", sorted(CATALOGUE))
def test_the_gradients_of_single_examples_have_the_batch_s_as_their_mean(
    kind: str, problem_of: Callable[..., NetworkProblem]
) -> None:
    @settings(derandomize=True, deadline=None, max_examples=10)
    @given(CASES[kind])
    def hold(case: Case) -> None:
        shape, layers, vocabulary = case
        problem = problem_of(shape, layers, vocabulary=vocabulary)
        row = problem.initial(0)[None]
        gradient = np.zeros_like(row)
        oracle = problem.bind(row, gradient, [0], 4)
        cost, whole = float(oracle.gradient(1)[0]), gradient[0].copy()
        if "gaussian" in repr(layers):
            with pytest.raises(InvalidNetwork, match="where a layer adds to the cost"):
                list(oracle.examples(1))
            return
        single = [(cost, gradient[0].copy()) for cost in oracle.examples(1)]
        assert len(single) == 4
        assert np.mean([cost for cost, _ in single]) == pytest.approx(cost, rel=1e-12)
        np.testing.assert_allclose(np.mean([one for _, one in single], axis=0), whole, rtol=1e-9, atol=1e-12)

    hold()
