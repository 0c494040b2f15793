"""Makes a JSON document that is valid for a schema; the same random state gives the same document.

It covers the keywords of `strict: true` (types, enum, const, bounds, anyOf, $ref, formats) but not `pattern`. Recursion
ends because below a few levels it takes the shortest arrays and the plainest choices of unions.
"""

import math
from random import Random

from promptmill.simulator.wire import JsonObject, JsonValue

_PLAIN_DEPTH = 4  # levels of $ref, items and properties below which the plainest choice is taken
_LAST_DEPTH = 64  # a schema that only an endless document satisfies ends in null
_DEFAULT_SPAN = 100  # of a number that is bounded on one side
_WORD_LIST = """
amber basin cedar delta ember fable grove harbor island jasper kernel lantern meadow north opal prairie quarry river
summit timber umber valley willow yonder zephyr anchor bridge copper drift echo field
"""
_WORDS = tuple(_WORD_LIST.split())
_FORMATS: dict[str, str] = {
    "date-time": "2026-{m:02}-{d:02}T{h:02}:00:00Z",
    "date": "2026-{m:02}-{d:02}",
    "time": "{h:02}:00:00Z",
    "duration": "P{d}D",
    "email": "{w}@example.com",
    "hostname": "{w}.example.com",
    "ipv4": "192.0.2.{d}",
    "ipv6": "2001:db8::{d}",
    "uri": "https://example.com/{w}",
    "uuid": "00000000-0000-4000-8000-0000000000{d:02}",
}


def sample_document(schema: JsonObject, random: Random) -> JsonValue:
    """A document valid for the schema."""
    return _sample(schema, schema, random, 0)


def sentence(random_bytes: bytes) -> str:
    """A short sentence of words that the bytes choose."""
    words = " ".join(_WORDS[byte % len(_WORDS)] for byte in random_bytes[:7])
    return f"{words.capitalize()}."


def _sample(schema: JsonValue, root: JsonObject, random: Random, depth: int) -> JsonValue:
    if not isinstance(schema, dict) or depth > _LAST_DEPTH:
        return None
    if "$ref" in schema:
        return _sample(_resolve(str(schema["$ref"]), root), root, random, depth + 1)
    if "const" in schema:
        return schema["const"]
    if isinstance(choices := schema.get("enum"), list):
        return random.choice(choices)
    if isinstance(options := schema.get("anyOf", schema.get("oneOf")), list):
        return _sample(_choose(options, random, depth), root, random, depth + 1)
    return _sample_type(schema, root, random, depth)


def _sample_type(schema: JsonObject, root: JsonObject, random: Random, depth: int) -> JsonValue:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = _choose([{"type": name} for name in kind], random, depth)["type"]
    match kind:
        case "object":
            properties = schema.get("properties")
            members = properties.items() if isinstance(properties, dict) else ()
            return {name: _sample(inner, root, random, depth + 1) for name, inner in members}
        case "array":
            return [
                _sample(schema.get("items", {"type": "string"}), root, random, depth + 1)
                for _ in range(_array_length(schema, random, depth))
            ]
        case "integer":
            return _whole_number(schema, random)
        case "number":
            return _number(schema, random)
        case "boolean":
            return random.random() < 0.5
        case "null":
            return None
        case _:
            return _string(schema, random)


def _resolve(reference: str, root: JsonObject) -> JsonValue:
    found: JsonValue = root
    for part in reference.removeprefix("#").split("/")[1:]:
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _choose(options: list[JsonValue], random: Random, depth: int) -> JsonObject:
    schemas = [option for option in options if isinstance(option, dict)]
    if depth < _PLAIN_DEPTH:
        return random.choice(schemas)
    return min(schemas, key=_plainness)


def _plainness(schema: JsonObject) -> int:
    if schema.get("type") == "null":
        return 0
    return 2 if "$ref" in schema or schema.get("type") in ("object", "array") else 1


def _array_length(schema: JsonObject, random: Random, depth: int) -> int:
    least = int(_bound(schema, "minItems") or 0)
    most = _bound(schema, "maxItems")
    if depth >= _PLAIN_DEPTH:
        return least
    return random.randint(
        max(least, 0 if most == 0 else 1), int(max(least, 3) if most is None else min(most, least + 3))
    )


def _whole_number(schema: JsonObject, random: Random) -> int:
    step = int(_bound(schema, "multipleOf") or 1)
    low, high = _range(schema, strict_step=1)
    return step * random.randint(math.ceil(low / step), max(math.ceil(low / step), math.floor(high / step)))


def _number(schema: JsonObject, random: Random) -> float:
    step = _bound(schema, "multipleOf")
    low, high = _range(schema, strict_step=0)
    if step:
        return round(step * random.randint(math.ceil(low / step), math.floor(high / step)), 9)
    share = random.randint(1, 999) / 1000  # inside, so that exclusive bounds hold as well
    return low if low == high else round(low + (high - low) * share, 6)


def _range(schema: JsonObject, strict_step: int) -> tuple[float, float]:
    low, high = _bound(schema, "minimum"), _bound(schema, "maximum")
    above, below = _bound(schema, "exclusiveMinimum"), _bound(schema, "exclusiveMaximum")
    if above is not None:
        low = max(above + strict_step, -math.inf if low is None else low)
    if below is not None:
        high = min(below - strict_step, math.inf if high is None else high)
    if low is None:
        low = 0.0 if high is None else min(0.0, high - _DEFAULT_SPAN)
    return low, low + _DEFAULT_SPAN if high is None else high


def _bound(schema: JsonObject, name: str) -> float | None:
    value = schema.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _string(schema: JsonObject, random: Random) -> str:
    template = _FORMATS.get(str(schema.get("format")))
    if template is not None:
        month, day, hour = random.randint(1, 12), random.randint(1, 28), random.randint(0, 23)
        return template.format(m=month, d=day, h=hour, w=random.choice(_WORDS))
    text = " ".join(random.choices(_WORDS, k=random.randint(1, 4)))
    least, most = _bound(schema, "minLength"), _bound(schema, "maxLength")
    while least is not None and len(text) < least:
        text = f"{text} {random.choice(_WORDS)}"
    return text if most is None else text[: int(most)]
