"""The line search ends at a step length that satisfies the strong Wolfe conditions."""

import pytest

from talweg_core.optimizers.line_search import strong_wolfe


@pytest.mark.parametrize("first", [1e-3, 0.3, 1.0, 50.0])
def test_a_line_search_ends_where_the_strong_wolfe_conditions_hold(first: float) -> None:
    """Along f(t) = (t − 2)⁴ + t² − 5 t."""

    def cost(t: float) -> float:
        return (t - 2) ** 4 + t * t - 5 * t

    def slope(t: float) -> float:
        return 4 * (t - 2) ** 3 + 2 * t - 5

    search = strong_wolfe(cost(0), slope(0), first, 1.0, 1e-9)
    length = next(search)
    while True:
        try:
            length = search.send((cost(length), slope(length)))
        except StopIteration as end:
            trial = end.value
            break
    assert trial.cost <= cost(0) + 1e-4 * trial.length * slope(0)
    assert abs(trial.slope) <= 0.9 * abs(slope(0))
