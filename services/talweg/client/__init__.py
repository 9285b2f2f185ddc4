"""The laboratory from Python: Lab, Run and Study over HTTP. Nothing of the store or the engine is loaded."""

from talweg.client.analysis import Explanation, Readings
from talweg.client.lab import Lab
from talweg.client.run import Run
from talweg.client.study import Study
from talweg.client.table import Interval, Spread, Table

__all__ = ["Explanation", "Interval", "Lab", "Readings", "Run", "Spread", "Study", "Table"]
