"""Which type a column of text may have, and text turned into the type that a job asks for.

A column is typed only where every value comes back as it is written, so that a prompt shows what the file shows: `10`
beside `9.99`, `1.10`, `1e3`, `true`, `2024-02-30` and `2024-01-01 10:00:00` stay text, `0.5` and `2024-01-31` don't.
`input.types` is for those who need the number, the time or the truth value of such a text.
"""

import pyarrow as pa

from promptmill.arrow import pc
from promptmill.job.input_spec import TypeName

TYPES: dict[TypeName, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}
ZONED = pa.timestamp("us", "UTC")  # what `timestamp` is where the texts tell their zone
KINDS: tuple[pa.DataType, ...] = (pa.bool_(), pa.int64(), pa.float64(), pa.date32(), pa.timestamp("us"))
_DAY = r"([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])-[01][0-9]-[0-3][0-9]"
_PATTERNS = {
    KINDS[0]: r"^(True|False)$",
    KINDS[1]: r"^(0|-?[1-9][0-9]{0,17})$",
    KINDS[2]: r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?(e[-+][0-9]+)?$",
    KINDS[3]: f"^{_DAY}$",
    KINDS[4]: rf"^{_DAY}T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{{6}})?$",
}
# doubles of at most 15 digits, which a double keeps, and of no exponent as Python prints them
_SHORT_DOUBLE = r"^-?(0\.(0|0{0,3}[1-9]|0{0,3}[1-9][0-9]{0,10}[1-9])|[1-9][0-9]{0,7}\.(0|[0-9]{0,6}[1-9]))$"
# doubles that Arrow, where it writes them like this, writes as Python does
_PLAIN_DOUBLE = r"^-?(0\.0{0,3}[1-9][0-9]*|[1-9][0-9]*\.[0-9]+)$"
_ZONE = r"([Zz]|[-+][0-9]{2}(:?[0-9]{2})?)$"


def still_possible(values: pa.Array, kinds: tuple[pa.DataType, ...]) -> tuple[pa.DataType, ...]:
    """Those of the types from whose values these texts come back as they are written; nulls fit every type."""
    present = pc.drop_null(values)
    return tuple(kind for kind in kinds if not len(present) or _comes_back(present, kind))


def type_of(kinds: tuple[pa.DataType, ...]) -> pa.DataType:
    """The type of a column to which its values leave these; a column without values is text, as in JSONL."""
    return pa.string() if kinds in ((), KINDS) else kinds[0]


def _comes_back(texts: pa.Array, kind: pa.DataType) -> bool:
    if not pc.all(pc.match_substring_regex(texts, _PATTERNS[kind])).as_py():
        return False
    if pa.types.is_floating(kind):
        other = texts.filter(pc.invert(pc.match_substring_regex(texts, _SHORT_DOUBLE)))
        return all(repr(float(text)) == text for text in _not_rewritten(other).to_pylist())
    if pa.types.is_timestamp(kind) and pc.any(pc.ends_with(texts, ".000000")).as_py():
        return False
    return not pa.types.is_temporal(kind) or cast_texts(texts, kind) is not None


def _not_rewritten(texts: pa.Array) -> pa.Array:
    """Those of these doubles for which Arrow can't say that they come back; it looks at many at once."""
    doubles = cast_texts(texts, pa.float64())
    if doubles is None:
        return texts
    is_same = pc.equal(doubles.cast(texts.type), texts)
    return texts.filter(pc.invert(pc.and_(is_same, pc.match_substring_regex(texts, _PLAIN_DOUBLE))))


def cast_texts(texts: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """Texts as values of a type; None where one of them is no such value."""
    try:
        return texts.cast(kind)
    except pa.ArrowInvalid:
        return None


def has_zone(texts: pa.Array) -> bool | None:
    """Whether the first of these times tells its zone; None where there is none."""
    present = pc.drop_null(texts)
    return bool(pc.match_substring_regex(present[0], _ZONE).as_py()) if len(present) else None
