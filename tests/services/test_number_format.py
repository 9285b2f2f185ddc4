"""Numbers as text."""

import pytest

from talweg.number_format import figures


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.04231, "0.0423"), (1.5, "1.50"), (12345.6, "12,346"), (0.0, "0"), (3.2e-9, "3.20e-09"), (-2.0, "-2.00")],
)
def test_numbers_have_three_significant_digits(value: float, text: str) -> None:
    assert figures(value) == text
