"""The report as people see it: in Debian's Chromium, light and dark, on a screen and on a phone; the pictures are kept."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

from promptmill.provider.transport import Credentials
from promptmill.simulator import Simulator
from tests.support.browsing import ARGUMENTS, PICTURES, find_chromium, need_chromium
from tests.support.jobs import MakeJob, carry_out
from tests.support.reading_pages import FAINT, HIDDEN_BY_SCROLLING, OVERFLOWING

pytestmark = pytest.mark.served
LABELS = ["billing", "shipping", "technical", "account", "a label of many words that goes on"]
SCHEMA = {
    "type": "object",
    "properties": {
        "category": {"type": "string", "enum": LABELS},
        "is_urgent": {"type": "boolean"},
        "how_sure_the_model_is": {"type": "number"},
        "reason": {"type": "string"},
    },
}


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A browser without a page."""
    chromium = need_chromium(find_chromium(), os.environ.get("CI") == "true")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture
async def report(make_job: MakeJob, credentials: Credentials, simulator: Simulator) -> Path:
    """The report of a run with retries, failures, mistakes and words that nobody can break."""
    simulator.configure(
        error_500=0.05, rate_limited=0.05, retry_after_seconds=0.1, latency_seconds=0.1, latency_jitter=0.7
    )
    texts = [f"{LABELS[number % 5]}{'' if number % 30 else ' ' + 'x' * 30}" for number in range(200)]
    job = make_job(
        [*texts, *[None] * 3],
        name="a-job-" + "with-a-long-name-" * 5,
        request__response_schema=SCHEMA,
        request__user="Sort: {{ text + '' }}",
        output__compare={"category": "text"},
        limits={"max_concurrency": 16},
        chunk_rows=100,
        request__answer_each_row=True,
    )
    await carry_out(job, credentials)
    return Path(job.output.url, "_report.html")


async def test_a_person_can_read_all_of_the_report_in_either_colour_on_any_screen(
    browser: Browser, report: Path
) -> None:
    assert "<script" not in report.read_text()
    for colours in ("light", "dark"):
        for width in (1280, 390):
            page = await browser.new_page(viewport={"width": width, "height": 900}, color_scheme=colours)
            await page.goto(report.as_uri())
            await page.evaluate("() => document.querySelectorAll('details').forEach(found => { found.open = true; })")
            await page.screenshot(path=PICTURES / "report" / f"{colours}-{width}.png", full_page=True)

            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            assert await page.evaluate(OVERFLOWING) == []
            assert await page.evaluate(HIDDEN_BY_SCROLLING) == []
            assert await page.evaluate(FAINT) == []
            await page.close()
