"""Adam that estimates its learning rate."""

from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import numpy as np

from talweg_core.compilation import kernel
from talweg_core.layout import Layout
from talweg_core.optimizers.base import (
    BoundOptimizer,
    Flags,
    Hyperparameters,
    Needs,
    Numbers,
    Optimizer,
    Situation,
    fraction,
    not_negative,
    positive,
)


@dataclass(frozen=True)
class DAdaptation(Optimizer):
    """m ← β₁ m + (1 − β₁) γ g, v ← β₂ v + (1 − β₂) g², θ ← θ − m / (√v + ε) − γ λ θ.

    With γ = η d √(1 − β₂ᵗ) / (1 − β₁ᵗ) and β₃ = √β₂: r ← β₃ r + (1 − β₃) γ g·(s / (√v₋ + ε)), with s and v from before
    the step, s ← β₃ s + (1 − β₃) γ g, and the next d is max(d, r / ((1 − β₃) Σ |s|)).
    learning_rate: η in (0, ∞), 1 unless a schedule lowers it. beta1, beta2: β₁, β₂ in [0, 1). epsilon: ε in (0, ∞).
    initial_distance: the initial d, in (0, ∞). weight_decay: λ in [0, ∞), multiplied by γ.

    Source: Defazio & Mishchenko 2023, algorithm 5 (D-Adapt Adam), with Adam's correction in γ. As in optax, since
    PyTorch has none: contrib.dadapt_adamw(learning_rate, betas, eps, estim_lr0, weight_decay).
    """

    name: ClassVar[str] = "dadaptation"
    needs: ClassVar[Needs] = "scalars"
    state: ClassVar[tuple[str, ...]] = ("m", "v", "s", "distance", "numerator")
    memory: ClassVar[str] = "3 P + 2"

    learning_rate: float = positive(1.0)
    beta1: float = fraction(0.9)
    beta2: float = fraction(0.999)
    epsilon: float = positive(1e-8)
    initial_distance: float = positive(1e-6)
    weight_decay: float = not_negative(0.0)

    def bind_rule(self, hyperparameters: Hyperparameters, layout: Layout, dtype: np.dtype[Any]) -> BoundOptimizer:
        """Bind to R runs of P coordinates."""
        return _BoundDAdaptation(hyperparameters, layout, dtype)


class BoundAdaptation(BoundOptimizer):
    """Moments m and v, the sum s, the distance d and the numerator r: also the state of Prodigy."""

    def __init__(self, h: Hyperparameters, layout: Layout, dtype: np.dtype[Any], *more: str) -> None:
        """Allocate the state, with further arrays (R, P) of the names `more` after s."""
        arrays = {name: np.zeros((h.runs, layout.size), dtype) for name in ("m", "v", "s", *more)}
        self._m, self._v, self._s = arrays["m"], arrays["v"], arrays["s"]
        self._distance, self._numerator = h.initial_distance.copy(), np.zeros(h.runs)
        self.state = arrays | {"distance": self._distance, "numerator": self._numerator}

    def _rate(self, h: Hyperparameters, updates: Numbers) -> Numbers:
        """γ = η d √(1 − β₂ᵗ) / (1 − β₁ᵗ)."""
        t = updates + 1
        rate: Numbers = h.learning_rate * self._distance * np.sqrt(1 - h.beta2**t) / (1 - h.beta1**t)
        return rate

    def _learn(self, active: Flags, numerator: Numbers, dividend: Numbers, divisor: Numbers, lengths: Numbers) -> None:
        """r ← `numerator`, d ← max(d, dividend / divisor); d does not change where Σ |s| is 0, before any gradient."""
        seen = lengths > 0
        estimate = np.where(seen, dividend / np.where(seen, divisor, 1), 0)
        np.copyto(self._numerator, numerator, where=active)
        np.copyto(self._distance, np.maximum(self._distance, estimate), where=active)


class _BoundDAdaptation(BoundAdaptation):
    def update(self, situation: Situation) -> None:
        h, p, g, active = situation.hyperparameters, situation.parameters, situation.gradient, situation.active
        beta3, rate, dtype = np.sqrt(h.beta2), self._rate(h, situation.updates), p.dtype
        epsilon = h.epsilon.astype(dtype)
        agreed, lengths = np.zeros(h.runs), np.zeros(h.runs)
        agreement(active, g, self._s, self._v, epsilon, agreed)
        numerator = beta3 * self._numerator + (1 - beta3) * rate * agreed
        scalars = (h.beta1, (1 - h.beta1) * rate, h.beta2, 1 - h.beta2, beta3, (1 - beta3) * rate)
        moments(active, g, self._m, self._v, self._s, tuple(x.astype(dtype) for x in scalars), lengths)
        self._learn(active, numerator, numerator, (1 - beta3) * lengths, lengths)
        one = np.ones(h.runs, dtype)
        descend(active, p, self._m, self._v, one, epsilon, (rate * h.weight_decay).astype(dtype))


@kernel
def moments(active: Any, gradient: Any, first: Any, second: Any, total: Any, scalars: Any, lengths: Any) -> None:
    """m ← β₁ m + a g, v ← β₂ v + b g², s ← β₃ s + c g; lengths (R,) becomes Σ |s|."""
    betas1, weights1, betas2, weights2, betas3, weights3 = scalars
    for r in range(len(gradient)):
        if active[r]:
            g, m, v, s = gradient[r], first[r], second[r], total[r]
            beta1, a, beta2, b = betas1[r], weights1[r], betas2[r], weights2[r]
            beta3, c = betas3[r], weights3[r]
            length = 0.0
            for i in range(g.size):
                m[i] = beta1 * m[i] + a * g[i]
                v[i] = beta2 * v[i] + b * g[i] * g[i]
                s[i] = beta3 * s[i] + c * g[i]
                length += abs(s[i])
            lengths[r] = length


@kernel
def descend(active: Any, parameters: Any, first: Any, second: Any, rates: Any, epsilons: Any, decays: Any) -> None:
    """θ ← θ − rate m / (√v + ε) − decay θ."""
    for r in range(len(parameters)):
        if active[r]:
            p, m, v, rate, epsilon, decay = parameters[r], first[r], second[r], rates[r], epsilons[r], decays[r]
            for i in range(p.size):
                p[i] -= rate * m[i] / (sqrt(v[i]) + epsilon) + decay * p[i]


@kernel
def agreement(active: Any, gradient: Any, total: Any, second: Any, epsilons: Any, out: Any) -> None:
    """Σ g s / (√v + ε) of every run (R,), in float64."""
    for r in range(len(gradient)):
        if active[r]:
            g, s, v, epsilon = gradient[r], total[r], second[r], epsilons[r]
            found = 0.0
            for i in range(g.size):
                found += float(g[i]) * s[i] / (sqrt(v[i]) + epsilon)
            out[r] = found
