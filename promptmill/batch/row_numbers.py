"""The files that keep the row number of each line of a batch, and what became of the line.

A whole plan can find both again, so a damaged file isn't an error. Each file begins with a BLAKE2b digest of the rest,
because a wrong number would submit a row twice.
Numbers are kept as ranges, 16 bytes each, since most batches hold rows that follow each other.
"""

from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

_DIGEST_BYTES = 16
NOWHERE: Final = -1  # instead of a number: the row left the input, or has another answer
ANSWERED: Final = 0  # the line brought a result or a final failure
UNBILLED: Final = 1  # the line wasn't run, or failed at the server
UNSURE: Final = 2  # the line was lost or can't be read, so the provider may bill it


def encode_numbers(rows: NDArray[np.int64]) -> bytes:
    """Row numbers in any order; `NOWHERE` may stand among them."""
    begins = np.flatnonzero(np.concatenate([[True], np.diff(rows) != 1])) if len(rows) else np.empty(0, np.int64)
    lengths = np.diff(np.concatenate([begins, [len(rows)]]))
    return _sealed(np.stack([rows[begins], lengths], axis=1).astype("<i8").tobytes())


def decode_numbers(data: bytes) -> NDArray[np.int64] | None:
    """The row numbers in their original order; None if the data is damaged."""
    found = _unsealed(data)
    if found is None or len(found) % 16:
        return None
    firsts, lengths = np.frombuffer(found, "<i8").astype(np.int64).reshape(-1, 2).T
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(firsts - (ends - lengths), lengths)


def encode_outcomes(outcomes: NDArray[np.uint8]) -> bytes:
    """What became of each line of a batch, in their order."""
    return _sealed(outcomes.astype(np.uint8).tobytes())


def decode_outcomes(data: bytes) -> NDArray[np.uint8] | None:
    """What became of each line; None when the data is damaged."""
    found = _unsealed(data)
    return None if found is None else np.frombuffer(found, np.uint8)


def _sealed(data: bytes) -> bytes:
    return blake2b(data, digest_size=_DIGEST_BYTES).digest() + data


def _unsealed(data: bytes) -> bytes | None:
    digest, rest = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    return rest if blake2b(rest, digest_size=_DIGEST_BYTES).digest() == digest else None
