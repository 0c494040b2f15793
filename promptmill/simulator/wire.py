"""Encodes JSON, and computes the digest that names a request.

The digest covers the body with sorted keys and no spaces, so that the same request has the same digest online and in a
batch line, from any JSON encoder.
"""

import hashlib
from typing import TypeAlias

import orjson

JsonValue: TypeAlias = "str | int | float | bool | None | list[JsonValue] | dict[str, JsonValue]"
JsonObject: TypeAlias = dict[str, JsonValue]


def decode(raw: bytes) -> JsonValue:
    """The value in some JSON bytes. Raises: ValueError."""
    value: JsonValue = orjson.loads(raw)
    return value


def encode(value: object) -> bytes:
    """Compact JSON; numpy arrays of numbers are written as lists."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def body_digest(body: JsonValue) -> bytes:
    """SHA-256 of the canonical body: keys sorted, no spaces."""
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()


def uniform(seed: int, *parts: bytes | int | str) -> float:
    """A number in [0, 1) that depends only on the seed and the parts."""
    text = b"|".join(part if isinstance(part, bytes) else str(part).encode() for part in (seed, *parts))
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) / 2**64
