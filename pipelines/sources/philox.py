"""Random numbers that are a function of (seed, row, place), the same on every platform and for every version of NumPy.

Philox4x32-10: Salmon, Moraes, Dror and Shaw, Parallel Random Numbers: As Easy as 1, 2, 3 (2011).
"""

import numpy as np

_FACTORS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def numbers(seed: int, rows: int, places: int) -> np.ndarray:
    """uint32 [rows, places]: row r, places 4b to 4b + 3 are the block of the counter (b, r) under the key seed."""
    blocks = -(-places // 4)
    counter = np.zeros((4, rows, blocks), np.uint64)
    counter[0] = np.arange(blocks)
    counter[1] = np.arange(rows)[:, None]
    drawn = philox(counter, (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF))
    return np.ascontiguousarray(np.moveaxis(drawn, 0, -1).reshape(rows, blocks * 4)[:, :places])


def philox(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """uint32 [4, ...] of a counter of four words, [4, ...] below 2 ** 32 each, and a key of two."""
    x0, x1, x2, x3 = counter.astype(np.uint64)
    for number in range(_ROUNDS):
        key0, key1 = (
            np.uint64((word + number * step) & 0xFFFFFFFF) for word, step in zip(key, _KEY_STEPS, strict=True)
        )
        product0, product1 = x0 * _FACTORS[0], x2 * _FACTORS[1]
        x0, x1, x2, x3 = (
            (product1 >> _HALF) ^ x1 ^ key0,
            product1 & _LOW,
            (product0 >> _HALF) ^ x3 ^ key1,
            product0 & _LOW,
        )
    return np.stack([x0, x1, x2, x3]).astype(np.uint32)
