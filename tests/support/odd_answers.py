"""Answers of a provider that may put any JSON in any field."""

import copy
import json
from typing import Any

from hypothesis import strategies as st

from promptmill.job.spec import Endpoint
from tests.support.examples import examples_or_longer

EXAMPLES = examples_or_longer(300)  # 5,000 to look longer
ODD_NUMBERS = (0, -1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, -(10**30), 1.5, -0.0, 12.0, 1e-9, 1e300)
WELL_FORMED: dict[Endpoint, dict[str, Any]] = {
    "chat.completions": {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-6-luna",
        "service_tier": "default",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "yes", "refusal": None}}
        ],
        "usage": {
            "prompt_tokens": 20,
            "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
        },
    },
    "responses": {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "model": "gpt-6-luna",
        "service_tier": "default",
        "incomplete_details": None,
        "output": [
            {"type": "reasoning", "summary": []},
            {"type": "message", "content": [{"type": "output_text", "text": "yes"}]},
        ],
        "usage": {
            "input_tokens": 20,
            "output_tokens": 2,
            "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
        },
    },
    "embeddings": {
        "object": "list",
        "model": "text-embedding-3-small",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}],
        "usage": {"prompt_tokens": 20, "total_tokens": 20},
    },
}
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from(ODD_NUMBERS),
        st.integers(-5, 5),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=("Cs",)), max_size=12),
        st.sampled_from(["flex", "length", "stop", "message", "output_text", "AAAAAA==", "AACAfw=="]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where the fields of a JSON value are, the value itself first."""
    found = [path]
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType, reportUnknownMemberType]
    for key, inner in pairs:  # pyright: ignore[reportUnknownVariableType]
        found += paths_of(inner, (*path, key))
    return found


def with_field(value: Any, path: tuple[Any, ...], put: Any) -> Any:
    """A copy with another value in one place; unchanged where an earlier change took the place away."""
    if not path:
        return put
    changed = copy.deepcopy(value)
    place = changed
    try:
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = put
    except (KeyError, IndexError, TypeError):
        return value
    return changed


@st.composite
def odd_answers(draw: st.DrawFn, endpoint: Endpoint) -> Any:
    """A well-formed answer with any JSON in up to four of its fields."""
    answer: Any = WELL_FORMED[endpoint]
    for path in draw(st.lists(st.sampled_from(paths_of(answer)[1:]), min_size=1, max_size=4)):
        answer = with_field(answer, path, draw(JSON))
    return answer if draw(st.integers(0, 19)) else draw(JSON)


def encode(value: Any) -> bytes:
    """As JSON, integers of any size included."""
    return json.dumps(value, ensure_ascii=False).encode()
