"""The documentation's site is built from the repository's pages, without a network, and no link of it leads nowhere."""

import re
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from docs.tools.site import build, pages
from tests.support.paths import ROOT

pytestmark = pytest.mark.xdist_group("site")  # it is built once
LOADED = {"script": "src", "link": "href", "img": "src", "source": "srcset", "iframe": "src"}


class Page(HTMLParser):
    """What a page of the site has to do with others."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.loads: set[str] = set()  # what a browser fetches by itself
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.add(values["href"])
        if tag in LOADED and LOADED[tag] in values and values.get("rel") != "canonical":
            self.loads.add(values[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """Every page of the site."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    build(folder)
    return {path: Page(path) for path in folder.rglob("*.html")}


def folder_of(site: dict[Path, Page]) -> Path:
    return next(path.parent for path in site if path.name == "index.html" and path.parent.name == "site")


def test_every_link_of_the_site_leads_to_a_page_and_a_heading(site: dict[Path, Page]):
    wrong: list[str] = []
    for path, page in site.items():
        for link in page.links | page.loads:
            parts = urlsplit(link)
            if parts.scheme or link.startswith("//") or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path not in {"", "."} else path
            target = target / "index.html" if target.is_dir() else target
            anchors = site[target].ids if target in site else set[str]()
            if not target.exists() or (parts.fragment and target in site and unquote(parts.fragment) not in anchors):
                wrong.append(f"{path.name}: {link}")

    assert wrong == []


def test_the_site_loads_nothing_from_another_server(site: dict[Path, Page]):
    loads = {load for page in site.values() for load in page.loads}
    styles = [path.read_text() for path in folder_of(site).rglob("*.css")]

    assert {load for load in loads if urlsplit(load).scheme not in {"", "data"} or load.startswith("//")} == set()
    assert [
        found for style in styles for found in re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)]*", style)
    ] == []
    assert len(loads) > 5
    assert styles


def named(entries: list[dict[str, object]]) -> Iterator[str]:
    """The pages that a navigation names."""
    for entry in entries:
        for inside in entry.values():
            if isinstance(inside, str):
                yield inside
            else:
                yield from named(inside)  # pyright: ignore[reportArgumentType]


def test_the_navigation_names_every_page_once():
    wanted = sorted(str(page) for page in pages() if page.suffix == ".md" and not page.name[:4].isdigit())

    assert sorted(named(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"])) == wanted


def test_the_page_of_the_python_api_has_the_docstrings(site: dict[Path, Page]):
    page = (folder_of(site) / "docs/python.html").read_text()

    for said in (
        "Run a job over a frame instead of its",
        "The succeeded rows of an output, in input order",
        "BudgetExhausted",
    ):
        assert said in page
