"""Templates name the columns that they need, mistakes are found before the run, and the sandbox holds."""

from typing import Any

import pytest

from promptmill.errors import JobError
from promptmill.job.spec import RequestSpec
from promptmill.prompts.request_builder import RequestBuilder, RowUnrenderable
from tests.support.rendering import LETTERS, builder_of, render


@pytest.mark.parametrize(
    ("template", "columns"),
    [
        ("nothing", set[str]()),
        ("{{ a }}", {"a"}),
        ("{% for x in a %}{{ x }}{{ loop.index }}{% endfor %}{% if b %}{% endif %}", {"a", "b"}),
        ("{% set a = 1 %}{{ a }}", set[str]()),
        ('{{ row["my col"] }}', {"my col"}),
        ('{{ row.a }}{{ row["b"] }}', {"a", "b"}),
        ("{{ row | tojson }}", {"a", "b", "my col", "range"}),
        ("{{ row.items() | list }}", {"a", "b", "my col", "range"}),
        ("{{ row[a] }}", {"a", "b", "my col", "range"}),
        ("{% for row in a %}{{ row.nothing }}{% endfor %}", {"a"}),
        ("{{ range }}", {"range"}),
    ],
)
def test_a_template_names_the_columns_that_it_needs(template: str, columns: set[str]) -> None:
    assert columns == builder_of(template, ["a", "b", "my col", "range"]).columns


def test_a_column_named_row_is_that_column() -> None:
    assert "x" == render("{{ row }}", {"row": "x", "a": 1})


def test_the_whole_row_prints_in_the_order_of_its_names() -> None:
    assert '{"a":1,"my col":"v"}' == render("{{ row }}", {"my col": "v", "a": 1})


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ txt }}", "request.user names the column 'txt', .* it has text, label. Did you mean 'text'"),
        ('{{ row["lable"] }}', "'lable'.*Did you mean 'label'"),
        ("{{ zzzzzz }}", "Name one of them"),
        ("{{ lipsum() }}", "'lipsum'"),
        ("a\n{{ text", "request.user has a mistake in line 2"),
        ("{% endif %}", "line 1"),
        ("{{ text | uper }}", "No filter named 'uper'.*Did you mean 'upper'"),
        ("{{ text is strin }}", "No test named 'strin'.*Did you mean 'string'"),
        ("{{ [1, 2] | random }}", "No filter named 'random'"),
        ("{{ 1 / 0 }}", "ZeroDivisionError.*every row"),
        ("{{ none }}", "every row"),
        ("\ud800{{ text }}", "can't be compiled"),
        ("{{ " + "9" * 5000 + " }}", "can't be compiled"),
        ("{{ " + "(" * 1000 + "1" + ")" * 1000 + " }}", "can't be compiled"),
    ],
)
def test_a_wrong_template_is_an_error_of_the_job(template: str, message: str) -> None:
    with pytest.raises(JobError, match=f"(?s){message}"):
        builder_of(template, ["text", "label"])


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ({"system": "{{ x }}", "user": "u"}, "request.system"),
        ({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "{{ x }}"}]}, "messages[1]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "{{ x }}"}}]}]},
            "request.messages[0].content[0].image_url.url",
        ),
        ({"endpoint": "embeddings", "input": "{{ x }}"}, "request.input"),
    ],
)
def test_an_error_names_its_template(spec: dict[str, Any], place: str) -> None:
    with pytest.raises(JobError) as refused:
        RequestBuilder(RequestSpec.model_validate({"model": "m", **spec}), ["text"], None, LETTERS)

    assert place in str(refused.value)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ text['__class__'] }}",
        "{{ text | attr('__class__') }}",
        "{{ self.__init__.__globals__ }}",
        "{{ range.__self__ }}",
        "{{ ''['__cla' ~ 'ss__'] }}",
        "{{ self._TemplateReference__context }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{% from 'os' import path %}",
        "{% extends 'base' %}",
        "{{ namespace(x=1) }}",
        "{{ joiner() }}",
        "{{ range(10 ** 8) | list }}",
        "{{ 'a' * 10 ** 9 }}",
        "{{ [1] * 10 ** 9 }}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ 'a' | center(10 ** 9) }}",
    ],
)
def test_a_template_that_leaves_the_sandbox_is_an_error_of_the_job(template: str) -> None:
    with pytest.raises(JobError, match=r"request\.user"):
        builder_of(template, ["text"])


@pytest.mark.parametrize(
    "template",
    [
        "{{ '{0.__class__}'.format(text) }}",
        "{{ '{0.__class__.__mro__}'.format(text) }}",
        "{{ '{a.__class__}'.format_map({'a': text}) }}",
        "{{ [text] | map(attribute='__class__') | list }}",
        "{{ [text] | map('attr', '__class__') | list }}",
        "{{ [text] | selectattr('__class__') | list }}",
        "{{ [text] | groupby('__class__') }}",
        "{{ text[text ~ text] }}",
        "{{ (text | string).format.im_func }}",
        "{{ text * 10 ** 9 }}",
        "{{ text.ljust(10 ** 9) }}",
        "{{ items.append(1) }}",
        "{{ mapping.update({'a': 1}) }}",
    ],
)
def test_a_row_whose_values_leave_the_sandbox_fails_alone(template: str) -> None:
    row = {"text": "__class__", "items": [1], "mapping": {"a": 0}}

    with pytest.raises(RowUnrenderable, match=r"request\.user"):
        render(template, row)


def test_a_column_with_underscores_is_allowed() -> None:
    """pandas writes such a column for an index."""
    assert "5" == render('{{ row["__index_level_0__"] }}', {"__index_level_0__": 5})
