"""Counted randomness: a stream is named by what it is for, never by what was drawn before it.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox4x64-10, as NumPy has it).
"""

import hashlib
from typing import Literal

import numpy as np

Purpose = Literal["parameters", "order", "noise", "data", "check", "probe"]


def stream(seed: int, purpose: Purpose, index: int = 0) -> np.random.Generator:
    """The generator keyed by (seed, purpose, index); equal keys give equal draws, different keys unrelated ones."""
    key = hashlib.blake2b(f"{seed}/{purpose}/{index}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
