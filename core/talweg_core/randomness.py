"""Counter-based random numbers: a stream is identified by its purpose, never by earlier draws.

NumPy's generators draw what is drawn once. A compiled counter draws the noise of any step without the steps before
it: number i of step t is a function of (seed, "noise", purpose, t, i) alone, whatever else is drawn.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox4x64-10, as NumPy has it, and
Philox4x32-10).
"""

import hashlib
from math import cos, log, pi, sin, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from talweg_core.compilation import kernel, scalar
from talweg_core.layout import Array

Purpose = Literal["parameters", "order", "noise", "data", "check", "probe"]
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
# 32 random bits become the centre of their interval: never 0, never 1.
_UNIT = 2.0**-32


def stream(seed: int, purpose: Purpose, index: int = 0) -> np.random.Generator:
    """The generator of the key (seed, purpose, index); equal keys give equal draws, different keys independent ones."""
    key = hashlib.blake2b(f"{seed}/{purpose}/{index}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))


def keys(seeds: list[int], purpose: str) -> NDArray[np.uint64]:
    """(R, 2): each run's key for one purpose, as two words of 32 bits."""
    digests = [hashlib.blake2b(f"{seed}/noise/{purpose}".encode(), digest_size=8).digest() for seed in seeds]
    words: NDArray[np.uint64] = np.frombuffer(b"".join(digests), dtype="<u4").reshape(-1, 2).astype(np.uint64)
    return words


@scalar
def philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Ten rounds of Philox on a counter of four words with a key of two words; 32-bit words in uint64."""
    for _ in range(10):
        first, second = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (second >> _HALF) ^ c1 ^ k0, second & _LOW, (first >> _HALF) ^ c3 ^ k1, first & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@kernel
def uniform(run_keys: Any, step: int, out: Any) -> None:
    """Fill out (R, N) with numbers in (0, 1) for `step`."""
    runs, size = out.shape
    low, high = np.uint64(step) & _LOW, np.uint64(step) >> _HALF
    for r in range(runs):
        row, k0, k1 = out[r], run_keys[r, 0], run_keys[r, 1]
        for block in range((size + 3) // 4):
            words = philox(np.uint64(block) & _LOW, np.uint64(block) >> _HALF, low, high, k0, k1)
            for j in range(min(4, size - 4 * block)):
                row[4 * block + j] = (float(words[j]) + 0.5) * _UNIT


@kernel
def normal(run_keys: Any, step: int, out: Any) -> None:
    """Fill out (R, N) with standard normal numbers for `step`, by Box & Muller 1958."""
    runs, size = out.shape
    low, high = np.uint64(step) & _LOW, np.uint64(step) >> _HALF
    for r in range(runs):
        row, k0, k1 = out[r], run_keys[r, 0], run_keys[r, 1]
        for block in range((size + 3) // 4):
            words = philox(np.uint64(block) & _LOW, np.uint64(block) >> _HALF, low, high, k0, k1)
            for j in range(0, min(4, size - 4 * block), 2):
                radius = sqrt(-2 * log((float(words[j]) + 0.5) * _UNIT))
                angle = 2 * pi * (float(words[j + 1]) + 0.5) * _UNIT
                row[4 * block + j] = radius * cos(angle)
                if 4 * block + j + 1 < size:
                    row[4 * block + j + 1] = radius * sin(angle)


def draw_normal(seed: int, purpose: str, step: int, shape: tuple[int, ...]) -> Array:
    """Standard normal numbers of that shape for one run and step."""
    out = np.empty((1, int(np.prod(shape))))
    normal(keys([seed], purpose), step, out)
    return out.reshape(shape)
