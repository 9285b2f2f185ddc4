"""What the learning-rate-free methods share: passes over (R, P) that sum as they go."""

from math import sqrt
from typing import Any

from talweg_core.compilation import kernel


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
