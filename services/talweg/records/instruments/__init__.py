"""Instruments: numbers about recorded steps, computed when asked for, at no cost in training.

They are those that Cockpit computes in training (Schneider, Dangel & Hennig 2021, arXiv 2102.06604).
"""

from talweg.records.instruments.base import Instrument
from talweg.records.instruments.kinds import INSTRUMENTS, Measured, measure

__all__ = ["INSTRUMENTS", "Instrument", "Measured", "measure"]
