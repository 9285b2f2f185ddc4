"""The Python client: Lab, Run and Study over HTTP. It loads neither the store nor the engine."""

from talweg.client.analysis import Explanation, Readings
from talweg.client.lab import Lab
from talweg.client.run import Run
from talweg.client.study import Study
from talweg.client.table import Interval, Spread, Table

__all__ = ["Explanation", "Interval", "Lab", "Readings", "Run", "Spread", "Study", "Table"]
