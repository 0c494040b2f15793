"""Rows that send the same request are asked for once, online and by batch, and none of them is lost."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

import promptmill
from promptmill.errors import TooManyFailures
from promptmill.output.manifest import Manifest
from promptmill.provider.transport import Credentials
from promptmill.simulator import Simulator
from tests.support.batching import carry_batches
from tests.support.billing import billed, paid_twice
from tests.support.jobs import MakeJob, carry_out, plan

TEXTS = [f"text {number % 7}" for number in range(45)]


def outcome(url: str) -> pd.DataFrame:
    """All rows in input order."""
    return pd.concat([promptmill.read(url), promptmill.read_failures(url)]).sort_values("row_index", ignore_index=True)


def check_shares(url: str, texts: Sequence[str], manifest: Manifest) -> None:
    """Each row has the answer of its text, and one row of each text has its cost."""
    rows = outcome(url)
    assert rows["text"].tolist() == list(texts)
    first = {text: rows["llm_custom_id"][list(texts).index(text)] for text in texts}
    is_taken = rows["llm_answered_by"].notna()
    assert is_taken.tolist() == [texts.index(text) < number for number, text in enumerate(texts)]
    assert rows["llm_answered_by"][is_taken].tolist() == [first[text] for text in rows["text"][is_taken]]
    answered = rows[rows["label"].notna()]
    assert (answered.groupby("text")[["response", "label", "score", "llm_response_id"]].nunique() == 1).all(axis=None)
    assert (rows["llm_cost_usd"][is_taken].dropna() == 0).all()
    assert rows["llm_custom_id"].is_unique
    assert manifest.shared == is_taken.sum()
    assert manifest.cost_usd == promptmill.read(url)["llm_cost_usd"].sum()


async def test_equal_requests_are_asked_for_once(make_job: MakeJob, credentials: Credentials, simulator: Simulator):
    job = make_job(list(TEXTS))
    run, distinct = plan(job, credentials), plan(make_job(list(TEXTS), input__limit=7), credentials)

    manifest = await carry_out(job, credentials)

    check_shares(job.output.url, TEXTS, manifest)
    assert (manifest.rows, manifest.succeeded, manifest.requests_sent, manifest.shared) == (45, 45, 7, 38)
    assert run.preflight.estimate.rows == 7
    assert run.preflight.estimate.input_tokens == distinct.preflight.estimate.input_tokens
    assert simulator.ledger()["totals"]["requests"] == 7  # pyright: ignore[reportIndexIssue, reportCallIssue, reportArgumentType]


async def test_equal_requests_are_asked_for_once_by_batch(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    simulator.configure(batch_seconds=0.2, line_missing_ratio=0.2)
    job = make_job(list(TEXTS), batch__poll_seconds=0.05)

    manifest = await carry_batches(job, credentials)

    check_shares(job.output.url, TEXTS, manifest)
    assert (manifest.succeeded, manifest.shared) == (45, 38)
    assert (billed(simulator), paid_twice(simulator)) == (7, 0)


async def test_each_row_is_asked_for_where_the_job_says_so_and_what_was_answered_is_kept(
    make_job: MakeJob, credentials: Credentials
) -> None:
    await carry_out(make_job(list(TEXTS)), credentials)

    job = make_job(list(TEXTS), request__answer_each_row=True)
    manifest = await carry_out(job, credentials)

    assert (manifest.requests_sent, manifest.reused, manifest.shared) == (38, 7, 0)
    assert promptmill.read(job.output.url)["llm_answered_by"].isna().all()


async def test_a_job_that_sends_every_row_the_same_asks_for_each(make_job: MakeJob, credentials: Credentials):
    manifest = await carry_out(make_job(5, request__user="Say a number.", request__same_for_all=True), credentials)

    assert (manifest.requests_sent, manifest.shared) == (5, 0)


async def test_a_row_whose_giver_is_gone_from_the_input_is_asked_for(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path
) -> None:
    """The rows of later chunks stay as they are, so their chunks look finished."""
    job = make_job(["a", *(f"text {number}" for number in range(19)), "a"], input__id_column="n", chunk_rows=10)
    path = tmp_path / "rows.parquet"
    frame = pd.DataFrame({"text": ["a", *(f"text {number}" for number in range(19)), "a"], "n": range(21)})
    frame.to_parquet(path)
    await carry_out(job, credentials)

    frame.loc[0, "text"] = "b"
    frame.to_parquet(path)
    manifest = await carry_out(job, credentials)

    rows = promptmill.read(job.output.url)
    assert (manifest.requests_sent, manifest.shared) == (2, 0)
    assert rows["text"].tolist() == frame["text"].tolist()
    assert rows["llm_answered_by"].isna().all()
    assert rows["response"].notna().all()


async def test_rows_share_a_failure_too_and_its_second_try(
    make_job: MakeJob, credentials: Credentials, simulator: Simulator
) -> None:
    texts = ["POISON-400", *(f"text {number}" for number in range(30)), "POISON-400", "POISON-400"]
    job = make_job(list(texts), max_failure_ratio=0.2)

    manifest = await carry_out(job, credentials)

    failures = promptmill.read_failures(job.output.url)
    assert (manifest.failed, manifest.shared, manifest.requests_sent) == (3, 2, 31)
    assert Counter(failures["llm_error_kind"]) == {"invalid_request": 3}
    assert failures["llm_answered_by"].tolist()[1:] == [failures["llm_custom_id"][0]] * 2
    again = await carry_out(job, credentials, retry_failed=True)
    assert (again.requests_sent, again.failed, again.shared) == (1, 3, 2)


async def test_a_failure_that_most_rows_share_stops_the_run(make_job: MakeJob, credentials: Credentials) -> None:
    texts = [*("text 1", "text 2", "text 3"), *["POISON-400"] * 60]
    job = make_job(list(texts), max_failure_ratio=0.3)

    with pytest.raises(TooManyFailures, match=r"60 of 63 rows failed \(60 invalid_request\)"):
        await carry_out(job, credentials)

    assert not Path(job.output.url, "_manifest.json").exists()


async def test_rows_that_an_earlier_version_asked_for_keep_their_own_answers(
    make_job: MakeJob, credentials: Credentials
) -> None:
    """The earlier version asked for each row; its output is half answered."""
    each = make_job(list(TEXTS), request__answer_each_row=True, input__limit=20)
    await carry_out(each, credentials)

    job = make_job(list(TEXTS))
    manifest = await carry_out(job, credentials, overwrite=True)

    assert (manifest.requests_sent, manifest.reused, manifest.shared) == (0, 20, 25)
    assert outcome(job.output.url)["llm_answered_by"].notna().tolist() == [False] * 20 + [True] * 25


async def test_ten_thousand_rows_with_two_thousand_texts_are_two_thousand_requests(
    make_job: MakeJob, credentials: Credentials
) -> None:
    texts = [f"text {number % 2_000}" for number in range(10_000)]
    job = make_job(list(texts), request__response_schema=None, chunk_rows=500, checkpoint_rows=100)

    manifest = await carry_out(job, credentials)

    assert (manifest.requests_sent, manifest.shared, manifest.succeeded) == (2_000, 8_000, 10_000)
