"""What can be read off a recorded step when someone asks, and so costs nothing while training.

What Cockpit offers during training (Schneider, Dangel & Hennig 2021, arXiv 2102.06604), computed from the record.
"""

from talweg.records.instruments.base import Instrument
from talweg.records.instruments.kinds import INSTRUMENTS, Measured, measure

__all__ = ["INSTRUMENTS", "Instrument", "Measured", "measure"]
