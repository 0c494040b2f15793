"""JSON as it travels: its types, its encoding and the digest that names a request.

The digest is taken of the body with sorted keys and no spaces, so that the same request sent online or as a batch line,
by whatever JSON encoder, is counted as one.
"""

import hashlib
from typing import TypeAlias

import orjson

JsonValue: TypeAlias = "str | int | float | bool | None | list[JsonValue] | dict[str, JsonValue]"
JsonObject: TypeAlias = dict[str, JsonValue]


def decode(raw: bytes) -> JsonValue:
    """The value that some JSON bytes stand for. Raises: ValueError."""
    value: JsonValue = orjson.loads(raw)
    return value


def encode(value: object) -> bytes:
    """Compact JSON; numpy arrays of numbers are written as lists."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def body_digest(body: JsonValue) -> bytes:
    """SHA-256 of the canonical body: keys sorted, no spaces."""
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()


def uniform(seed: int, *parts: bytes | int | str) -> float:
    """A number in [0, 1) that depends on the seed and the parts alone."""
    text = b"|".join(part if isinstance(part, bytes) else str(part).encode() for part in (seed, *parts))
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) / 2**64
