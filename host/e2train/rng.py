# SPDX-License-Identifier: Apache-2.0
"""Random numbers that depend on what they are for and when, never on what was drawn before.

Philox is counter-based (Salmon et al., SC 2011): a key and a counter give the stream. A run that
resumes at iteration n therefore needs no saved generator state, and drawing more numbers for one
purpose shifts no other.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

_WORD = 1 << 64


def generator(seed: int, purpose: str, counter: int = 0) -> np.random.Generator:
    """Return the generator of stream `counter` (an iteration, an epoch) of `purpose` under `seed`.

    The seed and a hash of `purpose` are Philox's 128-bit key; `counter` is the highest word of its
    256-bit counter, so that streams are 2^192 blocks apart and never overlap. `seed` and `counter`
    lie in [0, 2^64), else ValueError.
    """
    for name, value in (("seed", seed), ("counter", counter)):
        if not 0 <= value < _WORD:
            raise ValueError(f"{name} must be in [0, 2^64), got {value}")
    digest = hashlib.blake2b(purpose.encode(), digest_size=8).digest()
    key = np.array([seed, int.from_bytes(digest, "little")], np.uint64)
    position = np.array([0, 0, 0, counter], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=position))


def raw_words(seed: int, purpose: str, counter: int, count: int) -> npt.NDArray[np.uint64]:
    """Return `count` raw 64-bit words, uint64 [count], of the same stream.

    NumPy keeps the raw words of Philox fixed between versions but not what Generator's methods
    make of them (NEP 19). What must agree between a laptop and a board is built on these.
    """
    return generator(seed, purpose, counter).bit_generator.random_raw(count)


def permutation(seed: int, purpose: str, counter: int, count: int) -> npt.NDArray[np.int64]:
    """Return a random permutation of range(count), int64 [count], from the stream's raw words."""
    return np.argsort(raw_words(seed, purpose, counter, count), kind="stable")
