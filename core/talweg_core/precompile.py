"""Compiles the kernels of the catalogues into Numba's cache, so that the first run on a new machine compiles none.

`python -m talweg_core.precompile` is its command, run where an image is built: with NUMBA_CACHE_DIR where the cache is
to lie, and under the numerics that will be used, since CPU and features are part of the cache's key. What lies there
already is loaded, so that another call takes seconds.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from talweg_core import optimizers, problems
from talweg_core.activations import ACTIVATIONS
from talweg_core.cohort import Cohort
from talweg_core.data import Precision

PRECISIONS: Final[tuple[Precision, ...]] = ("float32", "float64")
# Small, with matrices, biases and a validation split: every rule works on it, and passes in no time.
SMALL: Final = {"name": "wine-mlp"}
Described = dict[str, Any]


def main() -> int:
    """Compile everything; 1 where something could not be, which is said on stderr."""
    failed = 0
    for name, train in everything():
        try:
            train()
        except Exception as error:  # noqa: BLE001
            # A plug-in may raise anything; the others are compiled all the same, and the build shows it.
            failed += 1
            sys.stderr.write(f"{name}: {type(error).__name__}: {error}\n")
    return int(failed > 0)


def everything() -> Iterator[tuple[str, Callable[[], None]]]:
    """What there is to compile: its name, and the training that compiles it."""
    for precision in PRECISIONS:
        for name in problems.names():
            yield f"{name}, {precision}", partial(_train, {"name": name}, "sgd", precision)
        for name in optimizers.names():
            yield f"{name}, {precision}", partial(_train, SMALL, name, precision)
        for around in optimizers.surroundings():
            wrapped = partial(_train, SMALL, "sgd", precision, around=[{"name": around.name}])
            yield f"{around.name}, {precision}", wrapped
        for problem in spelled_out():
            yield f"{problem}, {precision}", partial(_train, problem, "sgd", precision)


def spelled_out() -> Iterator[Described]:
    """Problems in which every activation stands behind every layer that takes it over, and every layer and cost."""
    for activation in sorted(ACTIVATIONS):
        own = {"layer": activation}
        # Taken over by the convolution and by the dense layer, and on its own behind the normalisation.
        yield _digits([_IMAGE, _CONVOLUTION, own, _FLATTEN, _dense(4), own, {"layer": "layer_norm"}, own, _dense(10)])
    for pool in ("max_pool", "average_pool"):
        yield _digits([_IMAGE, _CONVOLUTION, {"layer": "batch_norm"}, {"layer": pool}, _FLATTEN, _dense(10)])
    block = {"layer": "residual", "layers": [_dense(4), {"layer": "tanh"}]}
    yield _digits([_dense(4), {"layer": "batch_norm"}, {"layer": "dropout"}, block, {"layer": "gaussian"}, _dense(10)])
    for over in ({"layer": "recurrent", "units": 4}, {"layer": "lstm", "units": 4}, {"layer": "self_attention"}):
        yield _digits([{"layer": "reshape", "shape": [8, 8]}, over, _FLATTEN, _dense(10)])
    yield _digits([_dense(10)], {"name": "cross_entropy", "label_smoothing": 0.1, "l1": 1e-4, "l2": 1e-4})
    for cost in ("squared_error", "absolute_error", "huber"):
        yield {"dataset": "diabetes", "network": [_dense(1)], "cost": cost}
    yield {
        "dataset": "breast-cancer",
        "network": [_dense(1), {"layer": "reshape", "shape": []}],
        "cost": "binary_cross_entropy",
    }


_IMAGE: Final[Described] = {"layer": "reshape", "shape": [1, 8, 8]}
_CONVOLUTION: Final[Described] = {"layer": "conv2d", "channels": 2}
_FLATTEN: Final[Described] = {"layer": "flatten"}


def _dense(units: int) -> Described:
    return {"layer": "dense", "units": units}


def _digits(network: list[Described], cost: "str | Described" = "cross_entropy") -> Described:
    return {"dataset": "digits", "network": network, "cost": cost}


def _train(problem: Described, optimizer: str, precision: Precision, **hyperparameters: Any) -> None:
    """What a worker asks of a cohort: steps, norms, evaluations. The second step calls what the first made ready.

    Of one run and of two: several runs gather their batches otherwise.
    """
    made, rule = problems.create(**problem), optimizers.create(optimizer, **hyperparameters)
    for seeds in ([0], [0, 1]):
        cohort = Cohort(made, [rule] * len(seeds), seeds, precision=precision)
        for _ in range(2):
            before = cohort.parameters.copy()
            cohort.norms(before, cohort.advance())
        cohort.costs()
        for split in made.splits:
            cohort.evaluate(0, split)


if __name__ == "__main__":
    sys.exit(main())
