"""Initial parameters have the variance of their papers."""

import numpy as np
import pytest

from talweg_core.errors import UnknownName
from talweg_core.initial import INITIALS, Initial
from talweg_core.randomness import stream

# Variance of one number by fan_in = 200 and fan_out = 50, as the papers state it.
VARIANCES = {
    "zeros": 0,
    "ones": 0,
    "normal": 0.02**2,
    "glorot": 2 / 250,
    "he": 2 / 200,
    "lecun": 1 / 200,
    # Orthonormal columns of 200 numbers.
    "orthogonal": 1 / 200,
}


@pytest.mark.parametrize("name", sorted(INITIALS))
def test_the_variance_is_the_paper_s(name: str) -> None:
    drawn = Initial((200, 50), name, 200, 50).draw(stream(0, "parameters"))
    assert drawn.shape == (200, 50)
    assert drawn.dtype == np.float64
    # 10,000 draws estimate a variance to about 1.4 %.
    assert drawn.var() == pytest.approx(VARIANCES[name], rel=0.08)


def test_an_unknown_initial_is_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean 'glorot'"):
        Initial((2,), "glorott")


@pytest.mark.parametrize("shape", [(6, 6), (8, 3), (3, 8), (2, 2, 3, 5)])
def test_an_orthogonal_start_is_orthonormal_in_its_fewer_direction(shape: tuple[int, ...]) -> None:
    drawn = Initial(shape, "orthogonal").draw(stream(1, "parameters")).reshape(-1, shape[-1])
    rows, columns = drawn.shape
    product = drawn.T @ drawn if rows >= columns else drawn @ drawn.T
    assert np.allclose(product, np.eye(min(rows, columns)), atol=1e-12)
