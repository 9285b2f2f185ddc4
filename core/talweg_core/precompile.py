"""Compile the kernels of the catalogues into Numba's cache, so that the first run on a new machine compiles none.

Run `python -m talweg_core.precompile` when an image is built, with NUMBA_CACHE_DIR set to the cache's folder and with
the numerics of the later runs, since the CPU and its features are part of the cache's key. Cached kernels are loaded,
so that a second call takes seconds.
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
# Small, with matrices, biases and a validation split: every optimizer runs on it, quickly.
SMALL: Final = {"name": "wine-mlp"}
Described = dict[str, Any]


def main() -> int:
    """Compile everything; returns 1 where something failed, with the error on stderr."""
    failed = 0
    for name, train in everything():
        try:
            train()
        except Exception as error:  # noqa: BLE001
            # A plug-in may raise anything. The rest is still compiled, and the exit status fails the build.
            failed += 1
            sys.stderr.write(f"{name}: {type(error).__name__}: {error}\n")
    return int(failed > 0)


def everything() -> Iterator[tuple[str, Callable[[], None]]]:
    """Everything to compile: a name, and the function whose training compiles it."""
    for precision in PRECISIONS:
        for name in problems.names():
            yield f"{name}, {precision}", partial(_train, {"name": name}, "sgd", precision)
        for name in optimizers.names():
            yield f"{name}, {precision}", partial(_train, SMALL, name, precision)
        for wrapper in optimizers.describe_wrappers():
            wrapped = partial(_train, SMALL, "sgd", precision, around=[{"name": wrapper.name}])
            yield f"{wrapper.name}, {precision}", wrapped
        for problem in spelled_out():
            yield f"{problem}, {precision}", partial(_train, problem, "sgd", precision)


def spelled_out() -> Iterator[Described]:
    """Problems with every layer, every cost, and every activation fused into every layer that can absorb it."""
    for activation in sorted(ACTIVATIONS):
        own = {"layer": activation}
        # Fused into the convolution and into the dense layer; after the normalisation, a layer of its own.
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
    """The calls that a worker makes of a cohort: steps, norms, evaluations. The second step calls prepared kernels.

    With one run and with two: several runs gather their batches differently.
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
