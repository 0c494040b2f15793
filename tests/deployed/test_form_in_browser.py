"""The job as a form in the Prefect UI, as a colleague meets it in a browser: filled in, started, watched, looked through."""

import json
import os
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.async_api import expect

import promptmill
from promptmill.simulator import Simulator
from tests.support.browsing import Screen, at_screen, find_chromium, need_chromium
from tests.support.jobs import SCHEMA
from tests.support.rows import write_rows
from tests.support.serving import client_of, job_values, reached, start

PROMPT = "Is this good or bad?\n\n{{ text }}\n\nAnswer with one word."


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser; its tests are skipped without one, and fail in CI."""
    return need_chromium(find_chromium(), os.environ.get("CI") == "true")


@pytest.fixture
async def screen(chromium: str, served: str, request: pytest.FixtureRequest) -> AsyncIterator[Screen]:
    """The Prefect UI of the served Promptmill."""
    async with at_screen(chromium, served, request.node.originalname.removeprefix("test_")) as screen:
        yield screen


def manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest of an output."""
    return json.loads((folder / "_manifest.json").read_bytes())


async def test_the_first_fields_are_enough_for_a_run_which_is_found_by_its_job_and_rows(screen: Screen, tmp_path: Path):
    rows = write_rows(tmp_path / "rows.parquet", [f"text {number}" for number in range(1_200)])
    await screen.open_form("online-inference", "online")
    await screen.keep("empty form")
    await screen.box("name").fill("quick")
    await screen.box("input_url").fill(str(rows))
    await screen.box("model").fill("gpt-6-luna")
    await screen.box("prompt").fill(PROMPT)
    await screen.box("output_url").fill(str(tmp_path / "out"))
    await screen.box("budget_usd").fill("1.5")
    await screen.keep("filled form")
    await screen.submit()
    run_id = await screen.watch_until("Completed")
    await screen.keep("completed run")
    artifacts = await screen.open_tab(run_id, "Artifacts")
    await expect(artifacts).to_contain_text("completed: 1,200 of 1,200 rows succeeded, 0 failed")
    await artifacts.get_by_text("quick-summary").click()
    await screen.page.get_by_role("link", name=re.compile("^[0-9a-f]{8}$")).click()
    report = screen.page.get_by_role("link", name="Open the report")
    await expect(report).to_be_visible()
    await screen.keep("summary")
    await screen.page.goto(str(await report.get_attribute("href")))
    await expect(screen.page.get_by_role("heading", name="quick completed")).to_be_visible()
    await screen.keep("report")
    await screen.page.goto(f"{screen.root}/v2/runs")
    await expect(screen.page.get_by_text("quick · 1,200 rows").first).to_be_visible()
    await screen.keep("runs")

    manifest = manifest_of(tmp_path / "out")
    assert (manifest["job"]["name"], manifest["job"]["request"]["user"]) == ("quick", PROMPT)
    assert Decimal(manifest["budget_usd"]) == Decimal("1.5")


async def expect_an_empty_form(screen: Screen) -> None:
    """The form of a job shows its defaults, and which fields may stay empty."""
    await expect(screen.box("Limits", "Max concurrency")).to_have_value("auto")
    await expect(screen.box("Limits", "Requests per minute")).to_have_value("")
    await expect(screen.field("Request", "Model").locator("label")).to_have_text("Model")
    await expect(screen.field("Request", "User").locator("label")).to_have_text("User (Optional)")
    await expect(screen.field("Request", "Endpoint")).to_contain_text("chat.completions")
    await screen.keep("empty form")


async def test_a_person_fills_in_a_job_starts_it_and_watches_it_to_its_end(screen: Screen, tmp_path: Path):
    rows = write_rows(tmp_path / "rows.parquet", [f"text {number}" for number in range(30)])
    await screen.open_form("online-inference", "online")
    await screen.turn_to("Job", "job")
    await expect_an_empty_form(screen)

    await screen.box("Name").fill("by-form")
    await screen.box("Input", "URL").fill(str(rows))
    await screen.choose("parquet", "Input", "Format")
    await screen.box("Request", "Model").fill("gpt-6-luna")
    await screen.box("Request", "User").fill(PROMPT)
    await screen.box("Request", "Response schema").fill(json.dumps(SCHEMA))
    await screen.write_json('{"max_completion_tokens": 64}', "Request", "Parameters")
    await screen.box("Output", "URL").fill(str(tmp_path / "out"))
    await screen.box("Provider").fill("openai")
    await screen.box("Budget (US dollars)").fill("1.5")
    await screen.keep("filled form")

    assert "scheduled to start" in await screen.submit()

    run_id = await screen.watch_until("Completed")
    await screen.keep("completed run")

    artifacts = await screen.open_tab(run_id, "Artifacts")
    await expect(artifacts).to_contain_text("rows 30 of 30")
    await expect(artifacts).to_contain_text("completed: 30 of 30 rows succeeded, 0 failed")
    await screen.keep("artifacts")
    await artifacts.get_by_text("by-form-summary").click()
    await screen.page.get_by_role("link", name=re.compile("^[0-9a-f]{8}$")).click()
    await expect(screen.page.get_by_role("row").filter(has_text="succeeded")).to_contain_text("30")
    await screen.keep("summary")
    await expect(await screen.open_tab(run_id, "Logs")).to_contain_text("30 rows in 1 chunks")
    await screen.keep("logs")

    answers, manifest = promptmill.read(str(tmp_path / "out")), manifest_of(tmp_path / "out")
    assert set(answers["label"]) <= {"good", "bad"}
    assert (len(answers), manifest["job"]["request"]["user"]) == (30, PROMPT)
    assert (manifest["job"]["input"]["format"], Decimal(manifest["budget_usd"])) == ("parquet", Decimal("1.5"))


async def test_a_job_file_is_run_with_overrides(screen: Screen, tmp_path: Path):
    job = job_values(tmp_path, "by-url")
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    await screen.open_form("online-inference", "online")
    await screen.turn_to("Job", "job")
    await screen.turn_to("None", "job")
    await screen.box("job_url").fill((tmp_path / "job.yaml").as_uri())
    await screen.write_json('{"input.limit": 7, "limits.max_concurrency": 2}', "overrides")
    await screen.keep("job file and overrides")
    await screen.submit()

    run_id = await screen.watch_until("Completed")
    await expect(await screen.open_tab(run_id, "Parameters")).to_contain_text("input.limit")
    await screen.keep("parameters")

    assert len(promptmill.read(job["output"]["url"])) == 7
    assert manifest_of(Path(job["output"]["url"]))["job"]["limits"]["max_concurrency"] == 2


async def test_a_form_with_a_mistake_is_refused_with_its_place(screen: Screen, tmp_path: Path):
    await screen.open_form("estimate-cost", "estimate")
    await screen.turn_to("Job", "job")
    await screen.box("Name").fill("Not A Name")
    await screen.box("Input", "URL").fill(str(tmp_path / "rows.parquet"))
    await screen.box("Request", "Model").fill("gpt-6-luna")
    await screen.box("Output", "URL").fill(str(tmp_path / "out"))

    said = await screen.submit()
    await screen.keep("refused")

    assert "'job.name'" in said
    assert "Not A Name" in said


async def test_an_expensive_run_is_approved_in_the_browser_with_a_lower_budget(
    screen: Screen, served: str, provider: Simulator, tmp_path: Path
):
    job = {**job_values(tmp_path, "asking"), "approve_above_usd": "0.000001", "budget_usd": 2}
    sent_before = provider.ledger()["tiers"]
    async with client_of(served) as client:
        run = await start(client, "online-inference/online", job)
        await reached(client, run, "Suspended")
    await screen.open_tab(str(run.id), "Logs")
    await screen.page.locator("button[aria-haspopup=menu]").first.click()
    await screen.page.get_by_role("menuitem", name="Resume").click()
    dialog = screen.page.get_by_role("dialog")
    resume = dialog.get_by_role("button", name="Resume")

    await expect(dialog).to_contain_text("asking is estimated to cost $0.0002 more (online)")
    await expect(dialog).to_contain_text("Budget of this output: $2")
    await screen.keep("question")
    await resume.click()
    await expect(screen.page.locator("[data-sonner-toast]").first).to_contain_text("'decision' is a required property")
    assert provider.ledger()["tiers"] == sent_before

    await screen.choose("approve", "Decision")
    await screen.box("Budget (US dollars)").fill("0.5")
    await screen.keep("answer")
    await resume.click()
    await screen.page.get_by_text("Completed", exact=True).first.wait_for(timeout=90_000)
    await screen.keep("completed")

    assert len(promptmill.read(job["output"]["url"])) == 20
    assert Decimal(manifest_of(Path(job["output"]["url"]))["budget_usd"]) == Decimal("0.5")


def test_browser_tests_are_skipped_without_a_browser_and_fail_in_ci():
    assert need_chromium("/usr/bin/chromium", is_ci=True) == "/usr/bin/chromium"
    with pytest.raises(pytest.skip.Exception, match="Debian package chromium"):
        need_chromium(None, is_ci=False)
    with pytest.raises(pytest.fail.Exception, match="Debian package chromium"):
        need_chromium(None, is_ci=True)
