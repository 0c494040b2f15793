"""A template of texts and columns alone gives Jinja2's text without it, and leaves to Jinja2 what could differ."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.cell_values import Unreadable
from promptmill.errors import JobError
from promptmill.job.spec import RequestSpec
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.prompts.templates import RowTemplate, RowUnrenderable, row_values
from tests.support.rendering import LETTERS, render

NAMES = [
    "text",
    "Ünit",
    "_a",
    "self",
    "range",
    "row",
    "loop",
    "caller",
    "super",
    "context",
    "environment",
    "missing",
    "l_0_text",
]
TEXTS = st.text(st.characters(exclude_characters="{}#%", exclude_categories=["Cs"]), max_size=8)
PIECES = st.one_of(
    TEXTS,
    st.sampled_from(NAMES).map(lambda name: f"{{{{ {name} }}}}"),
    st.sampled_from(NAMES).map(lambda name: f"{{{{-{name}-}}}}"),
    st.sampled_from(
        ["{# not said #}", "{% raw %}{{ text }}{% endraw %}", "\r\n", "\n", "%s", "{{ text }}", "{{ true }}", "{{ 1 }}"]
    ),
    st.sampled_from(["{{ text | upper }}", "{% if text %}x{% endif %}", "{{ _a ~ 1 }}", "{% set text = 1 %}"]),
)
VALUES = st.one_of(
    st.text(max_size=20),
    st.integers(-(1 << 63), (1 << 64) - 1),
    st.floats(),
    st.booleans(),
    st.decimals(),
    st.dates(),
    st.datetimes(),
    st.none(),
    st.binary(max_size=4),
    st.lists(st.none() | st.integers(), max_size=2),
    st.sampled_from(
        [Unreadable("a year above 9999", "10000-01-01", 3), {"a": None}, timedelta(1), UUID(int=1), "é" * 9]
    ),
)


@given(st.lists(PIECES, min_size=1, max_size=6).map("".join), st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)))
def test_a_joined_text_is_the_one_of_jinja(source: str, row: dict[str, object]) -> None:
    try:
        template = RowTemplate("request.user", source, NAMES)
    except JobError:
        return
    joined = template.join(row)

    try:
        rendered = template.render(row_values(row, NAMES, needs_row=False))
    except RowUnrenderable:
        rendered = None
    assert joined in (rendered, None)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Review: {{ text }}", "Review: 50% off"),
        ("{{ text }}{{ n }}\n", "50% off7\n"),
        ("a  {{- text -}}  b", "a50% offb"),
        ("{# no word #}{{ n }}, {{ d }}, {{ x }}, {{ m }}, {{ b }}", "7, 2024-01-31, 0.5, 1.10, True"),
        ("{% raw %}{{ text }}{% endraw %}{{ t }}", "{{ text }}2024-01-31T10:00:00"),
    ],
)
def test_texts_and_columns_are_joined_without_jinja(source: str, text: str) -> None:
    row = {"text": "50% off", "n": 7, "d": date(2024, 1, 31), "x": 0.5, "m": Decimal("1.10"), "b": True}
    row["t"] = datetime(2024, 1, 31, 10)

    assert text == RowTemplate("request.user", source, list(row)).join(row)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("{{ text }}", None),
        ("{{ text }}", [1]),
        ("{{ text | trim }}", "a"),
        ("{{ self }}", "a"),
        ("{{ text }}", "a" * 2_000_000),
    ],
)
def test_jinja_gets_what_could_differ(source: str, value: object) -> None:
    assert RowTemplate("request.user", source, ["text", "self"]).join({"text": value, "self": value}) is None


def test_after_a_joined_text_jinja_says_what_is_wrong_with_the_next() -> None:
    spec = RequestSpec(model="m", system="{{ a }}", user="{{ b }}")
    builder = RequestBuilder(spec, ["a", "b"], None, LETTERS)

    with pytest.raises(RowUnrenderable, match=r"^request\.user: column 'b' is null"):
        builder.build({"a": "x", "b": None}, 0)


def test_a_text_is_as_long_as_the_limit_of_one_rendering() -> None:
    assert 1 << 24 == len(render("{{ a }}", {"a": "a" * (1 << 24)}))
    with pytest.raises(RowUnrenderable, match="16,777,217 characters"):
        render("{{ a }}", {"a": "a" * (1 << 24) + "b"})
