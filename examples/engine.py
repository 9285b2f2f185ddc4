"""Define a problem and train it with the engine alone, without laboratory or services."""

import numpy as np

from talweg_core import Cohort, optimizers
from talweg_core.data import split
from talweg_core.problems import NetworkProblem

x = np.linspace(-3, 3, 600)[:, None]
layers = [{"layer": "dense", "units": 32}, {"layer": "tanh"}, {"layer": "dense", "units": 1}]
problem = NetworkProblem("sine", split("sine", x, np.sin(2 * x)), layers, "squared_error")

rates = [1e-3, 1e-2]  # two runs, trained together
runs = Cohort(problem, [optimizers.create("adam", learning_rate=rate) for rate in rates], seeds=[0, 0])
for record in runs.run(1000):
    if record.step % 200 == 0:
        print(record.step, record.costs.round(4), np.linalg.norm(record.gradient, axis=1).round(4))
for row, rate in enumerate(rates):
    print(f"learning rate {rate}: test cost {runs.evaluate(row, 'test')[0]:.4f}")
