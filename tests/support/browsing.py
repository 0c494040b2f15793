"""A colleague at the Prefect UI: Debian's Chromium, driven by playwright, each step kept as a picture.

The UI is the one that Prefect 3.8.8 opens by itself (`/` leads to `/v2/`). Nothing but the server under test is reached.
"""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Locator, Page, Route, async_playwright

from tests.support.paths import ROOT

PICTURES = ROOT / "test-output/screenshots"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
RUN_MILLISECONDS = 90_000.0


def need_chromium(found: str | None, is_ci: bool) -> str:
    """The browser's path; without one the test is skipped, and fails where CI is set."""
    if found is not None:
        return found
    say = "chromium isn't installed, so that no form was tried in a browser. Install the Debian package chromium."
    if is_ci:
        pytest.fail(say)
    pytest.skip(say)


class Screen:
    """A page of the Prefect UI, used by what is written on it."""

    def __init__(self, page: Page, root: str, name: str) -> None:
        self.page = page
        self.root = root
        self._name = name
        self._kept = 0

    async def keep(self, step: str) -> None:
        """Keep a picture of the whole page."""
        self._kept += 1
        await asyncio.sleep(0.5)  # what moves has come to rest
        path = PICTURES / self._name / f"{self._kept}-{step.replace(' ', '-')}.png"
        await self.page.screenshot(path=path, full_page=True)

    async def open_form(self, flow: str, deployment: str) -> None:
        """From the front page to a deployment's form for a custom run."""
        await self.page.goto(self.root)
        await self.page.get_by_role("link", name="Deployments").click()
        row = self.page.get_by_role("row").filter(has_text=flow)
        await row.get_by_role("link", name=deployment, exact=True).click()
        await self.page.get_by_role("button", name="Run", exact=True).click()
        await self.keep("deployment")
        await self.page.get_by_role("menuitem", name="Custom run").click()
        await self.field("job").wait_for()

    def field(self, *path: str) -> Locator:
        """A field by its label, inside of sections by theirs."""
        scope: Page | Locator = self.page
        for label in path:
            written = re.compile(rf"^{re.escape(label)}( \(Optional\))?$")
            scope = (
                scope.locator("label")
                .filter(has_text=written)
                .first.locator("xpath=ancestor::div[contains(@class,'group')][1]")
            )
        assert isinstance(scope, Locator)
        return scope

    def box(self, *path: str) -> Locator:
        """What is typed into."""
        return self.field(*path).locator("textarea, input").first

    async def write_json(self, text: str, *path: str) -> None:
        """Type into a field's JSON editor."""
        await self.field(*path).locator(".cm-content").click()
        await self.page.keyboard.insert_text(text)

    async def choose(self, option: str, *path: str) -> None:
        """Choose one of a field's values."""
        await self.field(*path).get_by_role("combobox").or_(self.field(*path).locator("[aria-label^=Select]")).click()
        await self.page.get_by_role("option", name=option, exact=True).click()

    async def turn_to(self, tab: str, *path: str) -> None:
        """Choose a field's tab."""
        await self.field(*path).get_by_role("tab", name=tab, exact=True).first.click()

    async def submit(self) -> str:
        """Send the form; returns what is said to it."""
        await self.page.get_by_role("button", name="Submit").click()
        toast = self.page.locator("[data-sonner-toast]").first
        await toast.wait_for()
        return await toast.inner_text()

    async def watch_until(self, state: str) -> str:
        """Open the run that was just started and stay until it is in a state; returns its id."""
        await self.page.get_by_role("link", name="View run").click()
        await self.page.wait_for_url("**/runs/flow-run/**")
        await self.page.get_by_role("tab", name="Subflow Runs").wait_for()
        await self.page.get_by_text(state, exact=True).first.wait_for(timeout=RUN_MILLISECONDS)
        return urlsplit(self.page.url).path.rsplit("/", 1)[-1]

    async def open_tab(self, run_id: str, tab: str) -> Locator:
        """A tab of a run's page, read anew: the UI asks no more for logs once a run has ended."""
        await self.page.goto(f"{self.root}/v2/runs/flow-run/{run_id}?tab={tab}")
        panel = self.page.get_by_role("tabpanel", name=tab)
        await panel.wait_for()
        return panel


@asynccontextmanager
async def at_screen(chromium: str, api_url: str, name: str) -> AsyncIterator[Screen]:
    """A fresh browser at a served Promptmill."""

    async def stay_here(route: Route) -> None:
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            await route.continue_()
        else:
            await route.abort()

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        page = await browser.new_page(viewport={"width": 1280, "height": 1000})
        await page.route("**/*", stay_here)
        yield Screen(page, api_url.removesuffix("/api"), name)
        await browser.close()


def find_chromium() -> str | None:
    """Debian's Chromium, where it is installed."""
    return shutil.which("chromium")
