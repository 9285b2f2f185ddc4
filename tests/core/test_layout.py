"""The layout of named tensors in a flat vector."""

import numpy as np
import pytest

from talweg_core.errors import EngineError, UnknownName
from talweg_core.layout import Layout

LAYOUT = Layout.of({"weight": (2, 3), "bias": (3,), "scale": ()})


def test_tensors_are_consecutive() -> None:
    assert LAYOUT.size == 10
    assert LAYOUT.slice("weight") == slice(0, 6)
    assert LAYOUT.slice("bias") == slice(6, 9)
    assert LAYOUT.slice("scale") == slice(9, 10)


def test_views_share_memory_with_the_flat_vector() -> None:
    flat = np.arange(20.0).reshape(2, 10)
    views = LAYOUT.views(flat)
    assert views["weight"].shape == (2, 2, 3)
    assert views["scale"].shape == (2,)
    views["bias"][1] = -1
    assert flat[1].tolist() == [10, 11, 12, 13, 14, 15, -1, -1, -1, 19]


def test_a_position_is_where_the_view_shows_the_value() -> None:
    row = np.arange(10.0)
    assert row[LAYOUT.position("weight", (1, 2))] == LAYOUT.tensors(row)["weight"][1, 2]
    assert LAYOUT.position("scale", ()) == 9


def test_an_unknown_tensor_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownName, match="did you mean 'weight'"):
        LAYOUT.slice("wieght")


@pytest.mark.parametrize("index", [(2, 0), (0, 3), (-1, 0), (0,), (0, 0, 0)])
def test_an_index_out_of_shape_is_refused(index: tuple[int, ...]) -> None:
    with pytest.raises(EngineError, match=r"weight: the index must lie in the shape \(2, 3\)"):
        LAYOUT.position("weight", index)


def test_a_layout_that_no_machine_holds_is_refused_before_anything_is_allocated() -> None:
    with pytest.raises(EngineError, match="parameters: there must be at most 100000000, got 1000000000000000000000"):
        Layout.of({"dense1.weight": (10**9, 10**12)})
