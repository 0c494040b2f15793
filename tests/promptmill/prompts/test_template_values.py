"""Values print the same everywhere; a null is never printed unless the template handles it."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pytest

from promptmill.prompts.request_builder import RowUnrenderable
from tests.support.rendering import render

NULLS = {"text": None, "tags": ["a", None], "item": {"name": None}}


@pytest.mark.parametrize(
    "template",
    [
        "{{ text }}",
        "{{ text | upper }}",
        "{{ text | string }}",
        "{{ text | trim }}",
        "{{ text | int }}",
        "{{ text | length }}",
        "{{ text | replace('a', 'b') }}",
        "{{ text | b64 }}",
        "{{ text ~ '!' }}",
        "{{ text + '!' }}",
        "{{ '%s' | format(text) }}",
        "{{ '{}'.format(text) }}",
        "{{ [text, 'a'] | join(' ') }}",
        "{{ text.upper() }}",
        "{{ text[0] }}",
        "{{ text > 3 }}",
        "{{ 'a' in text }}",
        "{% for x in text %}{% endfor %}",
        "{{ tags | join(', ') }}",
        "{{ tags[1] }}",
        "{{ item.name }}",
        "{{ row['text'] }}",
    ],
)
def test_a_row_fails_when_its_template_prints_a_null(template: str) -> None:
    with pytest.raises(RowUnrenderable, match=r"request.user: column '(text|tags|item)' (is null|holds a null)"):
        render(template, NULLS)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ('{{ text or "-" }}', "-"),
        ('{{ text | default("-", true) }}', "-"),
        ('{{ text | default("-") }}', "-"),
        ("{% if text %}yes{% else %}no{% endif %}", "no"),
        ("{% if text is none %}none{% endif %}", "none"),
        ("{% if text is not none %}some{% endif %}", ""),
        ("{% if text == none %}none{% endif %}", "none"),
        ("{{ text is defined }}", "False"),
        ("{{ text in ['a'] }}", "False"),
        ("{{ text | tojson }}", "null"),
        ("{{ tags }}", '["a",null]'),
        ("{{ tags | select | join(', ') }}", "a"),
        ("{{ item }}", '{"name":null}'),
        ("{{ item.name or 'nobody' }}", "nobody"),
    ],
)
def test_a_template_may_handle_a_null(template: str, text: str) -> None:
    assert text == render(template, NULLS)


def test_a_null_in_another_column_does_not_matter() -> None:
    assert "x" == render("{{ a }}", {"a": "x", "b": None})


@pytest.mark.parametrize(
    ("value", "printed", "as_json"),
    [
        ("a<b>&'", "a<b>&'", '"a<b>&\'"'),
        (7, "7", "7"),
        (2.5, "2.5", "2.5"),
        (1e300, "1e+300", None),
        (True, "True", "true"),
        (Decimal("1E+2"), "100", "100"),
        (Decimal("1.10"), "1.10", "1.10"),
        (date(2024, 1, 2), "2024-01-02", '"2024-01-02"'),
        (datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), "2024-01-02T03:04:05+00:00", '"2024-01-02T03:04:05+00:00"'),
        (time(3, 4), "03:04:00", '"03:04:00"'),
        (timedelta(hours=25), "1 day, 1:00:00", '"1 day, 1:00:00"'),
        ([1, "é", None, Decimal("0.10")], '[1,"é",null,0.10]', '[1,"é",null,0.10]'),
        ({"b": {"d": 1, "c": 2}, "a": date(2024, 1, 2)}, '{"a":"2024-01-02","b":{"c":2,"d":1}}', None),
        (np.float32(0.5), "0.5", "0.5"),
        (np.int64(3), "3", "3"),
        (np.bool_(True), "True", "true"),
        (np.array([[1, 2], [3, 4]]).T, "[[1,3],[2,4]]", "[[1,3],[2,4]]"),
        (np.datetime64("2024-01-02"), "2024-01-02", '"2024-01-02T00:00:00"'),
    ],
)
def test_values_print_the_same_everywhere(value: object, printed: str, as_json: str | None) -> None:
    assert printed == render("{{ x }}", {"x": value})
    assert (as_json or printed) == render("{{ x | tojson }}", {"x": value})


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ data }}", "b64"),
        ("{{ data ~ '' }}", "b64"),
        ("{{ data | tojson }}", "b64"),
        ("{{ [data] }}", "b64"),
        ("{{ text.upper }}", "has no text"),
        ("{{ [text] | map('upper') }}", "'generator' has no text"),
        ("{{ text.nothing }}", "no attribute 'nothing'"),
        ("{{ text / 2 }}", "unsupported operand"),
        ("{{ text | tojson(indent=3) }}", "indent 3"),
        ("{{ number | b64 }}", "takes bytes or a text"),
        ("{{ huge | tojson }}", "64-bit"),
        ("{{ text['x' ~ 1] }}", "no attribute 'x1'"),
    ],
)
def test_a_row_fails_when_its_template_prints_a_value_without_a_text(template: str, message: str) -> None:
    row = {"data": b"\x00", "text": "abc", "number": 1, "huge": 10**30}

    with pytest.raises(RowUnrenderable, match=message):
        render(template, row)


def test_bytes_and_texts_print_as_base64() -> None:
    assert "AP8= w6k=" == render("{{ a | b64 }} {{ b | b64 }}", {"a": b"\x00\xff", "b": "é"})
