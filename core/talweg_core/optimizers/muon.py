"""Orthogonalised momentum for matrices, AdamW for the other tensors."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from talweg_core.layout import Array, Layout
from talweg_core.optimizers.adamw import AdamW
from talweg_core.optimizers.base import (
    BoundOptimizer,
    Hyperparameters,
    Needs,
    Optimizer,
    Situation,
    choice,
    flag,
    fraction,
    not_negative,
    positive,
    size,
)
from talweg_core.optimizers.tensors import Vectors, matrices, row_norms

_A, _B, _C = 3.4445, -4.775, 2.0315
_LEAST = 1e-7


@dataclass(frozen=True)
class Muon(Optimizer):
    """b ← μ b + (1 − μ) g, O = orthogonalised((1 − μ) g + μ b), θ ← (1 − η λ) θ − η s O, for each matrix.

    Orthogonalised: from X = G / |G|, n times X ← a X + (b X Xᵀ + c (X Xᵀ)²) X with (a, b, c) = (3.4445, −4.775,
    2.0315). s = √max(1, outputs / inputs), or 0.2 √max(outputs, inputs), which gives updates AdamW's root mean square.
    Tensors of one dimension follow AdamW with η v, β₁, β₂, ε and λ. A tensor of more is read as (…, outputs).
    learning_rate: η in (0, ∞). momentum: μ in [0, 1). nesterov: without it O is of b. iterations: n. scale:
    "original" or "match_rms_adamw". weight_decay: λ in [0, ∞). vector_rate: v in (0, ∞). beta1, beta2 in [0, 1);
    epsilon in [0, ∞).

    Source: Jordan et al. 2024, "Muon", with Nesterov momentum. PyTorch: Muon(lr, weight_decay, momentum, nesterov,
    ns_steps=iterations, adjust_lr_fn=scale), which orthogonalises in bfloat16, here in the run's precision, and
    leaves vectors to another optimizer; AdamW for them as in optax.contrib.muon. Its matrices are (outputs, inputs).
    """

    name: ClassVar[str] = "muon"
    needs: ClassVar[Needs] = "tensors"
    state: ClassVar[tuple[str, ...]] = ("momentum", "vectors.m", "vectors.v")
    memory: ClassVar[str] = "1 P, 2 a vector's coordinate"

    learning_rate: float = positive(1e-3)
    momentum: float = fraction(0.95)
    weight_decay: float = not_negative(0.1)
    vector_rate: float = positive(1.0)
    beta1: float = fraction(0.9)
    beta2: float = fraction(0.999)
    epsilon: float = not_negative(1e-8)
    nesterov: bool = flag(True)
    iterations: float = size(5, high=99)
    scale: str = choice("original", "match_rms_adamw")

    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """Bind to R runs of P coordinates."""
        return _BoundMuon(hyperparameters, layout, dtype)


class _BoundMuon(BoundOptimizer):
    def __init__(self, h: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> None:
        self._matrices = matrices(layout)
        self._vectors = Vectors(AdamW, h, layout, dtype)
        self._nesterov, self._iterations = h.shared["nesterov"], int(h.shared["iterations"])
        self._factor = {"original": _original, "match_rms_adamw": _match_rms_adamw}[h.shared["scale"]]
        self._momenta = {name: np.zeros((h.runs, where.stop - where.start), dtype) for name, where, _ in self._matrices}
        self.state = {f"momentum.{name}": array for name, array in self._momenta.items()} | self._vectors.state

    def update(self, situation: Situation) -> None:
        h, active = situation.hyperparameters, situation.active[:, None]
        dtype = situation.parameters.dtype
        mu, rest = (values[:, None].astype(dtype) for values in (h.momentum, 1 - h.momentum))
        keep = (1 - h.learning_rate * h.weight_decay)[:, None].astype(dtype)
        for name, where, (inputs, outputs) in self._matrices:
            p, g, b = situation.parameters[:, where], situation.gradient[:, where], self._momenta[name]
            np.copyto(b, mu * b + rest * g, where=active)
            direction = rest * g + mu * b if self._nesterov else b
            turned = orthogonalised(direction, (inputs, outputs), self._iterations)
            rate = (h.learning_rate * self._factor(inputs, outputs))[:, None].astype(dtype)
            np.copyto(p, keep * p - rate * turned, where=active)
        self._vectors.update(situation, h.learning_rate * h.vector_rate)


def orthogonalised(flat: Array, shape: tuple[int, int], iterations: int) -> Array:
    """(R, n m) by Newton-Schulz iterations: singular values near 1, the same singular vectors."""
    x = flat / np.maximum(row_norms(flat), _LEAST)[:, None].astype(flat.dtype)
    x = x.reshape(len(flat), *shape)
    tall = shape[0] > shape[1]
    x = np.ascontiguousarray(x.swapaxes(1, 2)) if tall else x
    for _ in range(iterations):
        gram = x @ x.swapaxes(1, 2)
        x = _A * x + (_B * gram + _C * (gram @ gram)) @ x
    x = x.swapaxes(1, 2) if tall else x
    return x.reshape(flat.shape)


def _original(inputs: int, outputs: int) -> float:
    return float(np.sqrt(max(1.0, outputs / inputs)))


def _match_rms_adamw(inputs: int, outputs: int) -> float:
    return float(0.2 * np.sqrt(max(outputs, inputs)))
