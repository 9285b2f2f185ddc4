"""Precompilation: its problems hold every layer and every cost of the catalogues."""

from collections.abc import Iterable, Iterator

from talweg_core import problems
from talweg_core.costs import COSTS
from talweg_core.layers import CATALOGUE, Layer
from talweg_core.layers.residual import Residual
from talweg_core.precompile import spelled_out
from talweg_core.problems import NetworkProblem


def _kinds(layers: Iterable[Layer]) -> Iterator[str]:
    """The names of these layers and of those inside a residual block."""
    for layer in layers:
        yield layer.kind
        if isinstance(layer, Residual):
            yield from _kinds(layer.layers)


def test_every_layer_and_every_cost_is_compiled() -> None:
    made = [*map(problems.create, problems.names()), *(problems.create(**described) for described in spelled_out())]
    networks = [problem.network for problem in made if isinstance(problem, NetworkProblem)]
    assert CATALOGUE.keys() <= {kind for network in networks for kind in _kinds(network.layers)}
    assert COSTS.keys() <= {network.cost.name for network in networks}
