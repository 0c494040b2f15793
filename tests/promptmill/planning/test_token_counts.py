"""The plan counts a row's tokens; the row's second rendering takes them from there."""

from collections.abc import Callable
from typing import Any

import pytest

from promptmill.planning import token_counts
from promptmill.planning.plan import plan_chunks
from promptmill.planning.prepared_job import prepare
from promptmill.planning.rendering import Unrendered
from promptmill.planning.rows import read_chunks, render_chunk
from promptmill.planning.token_counts import TokenCounts
from promptmill.prompts.request_builder import RequestBuilder
from promptmill.records import Request
from tests.support.jobs import TODAY, MakeJob

Rendered = list[Request | Unrendered]
LIMIT = 70
TEXTS: list[str | None] = ["word " * number for number in range(1, 31)]


@pytest.fixture
def render_again(make_job: MakeJob) -> Callable[[], Rendered]:
    """Renders a plan's chunks as a run does; some rows are too long."""
    job = make_job(TEXTS, request__max_input_tokens=LIMIT)
    prepared = prepare(job, TODAY)
    dataset, builder = prepared.dataset, prepared.builder
    plan = plan_chunks(dataset, builder, job)

    def rendered() -> Rendered:
        chunks = read_chunks(dataset, job, plan, plan.chunks, {"text"})
        return [row for chunk, table in chunks for row in render_chunk(builder, job, plan, chunk, table)]

    return rendered


def test_a_second_rendering_gives_what_counting_would_give(
    render_again: Callable[[], Rendered], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(TokenCounts, "of", lambda *_: ())
        counted = render_again()

    assert render_again() == counted
    kinds = [isinstance(row, Request) for row in counted]
    assert True in kinds
    assert False in kinds


def test_only_rows_that_were_too_long_are_counted_again(
    render_again: Callable[[], Rendered], monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[int] = []
    build = RequestBuilder.build

    def spied(builder: RequestBuilder, row: Any, row_id: object, repetition: int = 0, counted: int = 0) -> Request:
        built.append(counted)
        return build(builder, row, row_id, repetition, counted)

    monkeypatch.setattr(RequestBuilder, "build", spied)

    rendered = render_again()

    assert built == [row.input_tokens if isinstance(row, Request) else 0 for row in rendered]


def test_counts_take_no_more_memory_than_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_counts, "_MOST_BYTES", 100)
    counts = TokenCounts()
    for start in range(0, 1_000, 10):
        counts.keep(start, [Request(f"{start}", b"", start + place + 1, 0, 0) for place in range(10)])

    assert list(counts.of(0, 10)) == list(range(1, 11))
    assert list(counts.of(0, 9)) == []  # of another chunk
    assert list(counts.of(990, 10)) == []
