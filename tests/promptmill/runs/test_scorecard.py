"""A sample gives intervals for the whole run, and the run's scorecard says whether they held and why not."""

from datetime import UTC, datetime, timedelta

import pytest

from promptmill.output.forecast import Forecast, Interval, Score, reasons_for
from promptmill.output.manifest import Manifest, decode, encode
from promptmill.planning.estimate import age_of
from promptmill.planning.prepared_job import SAMPLES
from promptmill.provider.transport import Credentials
from promptmill.runs.plain import run_plainly
from promptmill.runs.run import PendingRun
from promptmill.runs.sample import sample_job_of
from promptmill.simulator import Simulator
from tests.support.jobs import MakeJob, plan


@pytest.fixture
def credentials(simulator: Simulator) -> Credentials:
    """Of a provider without faults."""
    return Credentials(api_key="test", base_url=simulator.base_url)


async def sampled(whole: PendingRun, rows: int) -> Manifest:
    """A sample's manifest."""
    part = plan(sample_job_of(whole.prepared.job, rows), whole.credentials)
    return (await run_plainly(part, whole.prepared.output.folder(SAMPLES))).manifest


async def test_a_run_after_a_sample_has_a_scorecard_in_manifest_and_report(make_job: MakeJob, credentials: Credentials):
    texts: list[str | None] = [f"row {i}\nANSWER: {'word ' * (1 + i % 7)}" for i in range(300)]
    job = make_job(texts, request__response_schema=None)
    sample = await sampled(plan(job, credentials), 30)
    whole = plan(job, credentials)
    estimate, forecast = whole.preflight.estimate, whole.preflight.estimate.forecast
    manifest = (await run_plainly(whole)).manifest
    card = manifest.scorecard

    assert sample.measured is not None and sample.scorecard is None
    assert forecast is not None and forecast.sample_rows == sample.measured.rows == 30
    assert float(estimate.online_usd) == pytest.approx(forecast.cost_usd.mean)
    assert card is not None
    assert [(score.name, score.is_inside) for score in card.scores] == [
        ("cost, US dollars", True),
        ("output tokens", True),
        ("failures", True),
    ]
    assert card.scores[0].actual == float(manifest.cost_usd)
    assert decode(encode(manifest)).scorecard == card
    page = whole.prepared.output.read("_report.html").decode()
    assert "Estimated by a sample of 30 rows" in page and page.count(">inside<") == 3


async def test_longer_answers_than_the_samples_are_named_as_the_reason(make_job: MakeJob, credentials: Credentials):
    texts: list[str | None] = [f"row {i}\nANSWER: {'word ' * (1 if i < 20 else 40)}" for i in range(60)]
    job = make_job(texts, request__response_schema=None)
    await sampled(plan(job, credentials), 20)
    card = (await run_plainly(plan(job, credentials))).manifest.scorecard

    assert card is not None
    assert [score.is_inside for score in card.scores] == [False, False, True]
    assert card.reasons and card.reasons[0].startswith("longer answers than the sample's: $")


async def test_without_a_sample_there_is_no_scorecard(make_job: MakeJob, credentials: Credentials):
    run = plan(make_job(3), credentials)

    assert run.preflight.estimate.forecast is None
    assert (await run_plainly(run)).manifest.scorecard is None


@pytest.mark.parametrize(
    ("added", "text"),
    [
        pytest.param(0.5, ("more tokens: $0.5000 more",), id="more"),
        pytest.param(-0.5, ("fewer tokens: $0.5000 less",), id="less"),
        pytest.param(0.01, (), id="too-little-to-tell"),
    ],
)
def test_only_what_matters_is_a_reason(added: float, text: tuple[str, ...]):
    assert reasons_for([("more tokens", "fewer tokens", added)], 1.0) == text


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(seconds=30), "30 seconds"),
        (timedelta(minutes=90), "90 minutes"),
        (timedelta(hours=40), "40 hours"),
        (timedelta(days=3), "3 days"),
    ],
)
def test_the_age_of_a_sample_is_told_in_words(age: timedelta, words: str):
    figure = Interval(0, 0, 0)
    forecast = Forecast(1, datetime.now(UTC) - age, 0.0, figure, figure, figure, figure, None)

    assert age_of(forecast) == words


def test_a_figure_that_only_rounding_puts_outside_is_inside():
    assert Score("cost", Interval(0.1, 0.2, 0.3), 0.1 + 0.2).is_inside
