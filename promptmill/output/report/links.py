"""Where the report's links lead: to the output beside it, and to the input where a browser can open it. Pure.

A link is relative where input and output lie in one file system, so that it holds when both are moved together. Other
places, such as a bucket, are shown as text: a browser can't open them.
"""

import os
import shlex
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from promptmill.job.spec import Job
from promptmill.output.manifest import MANIFEST, Manifest
from promptmill.public_url import public_url

_MOST_INPUTS = 10
_PATTERN = frozenset("*?[{")


@dataclass(frozen=True, slots=True)
class Link:
    """A place, and what leads there."""

    shown: str
    href: str | None  # None: a browser can't go there


@dataclass(frozen=True, slots=True)
class Command:
    """A command to copy, and what it does."""

    does: str
    text: str


def input_links(job: Job) -> list[Link]:
    """The input's places."""
    urls = job.input.urls
    links = [Link(public_url(url), _href(public_url(url), job.output.url)) for url in urls[:_MOST_INPUTS]]
    return [*links, *([Link(f"and {len(urls) - _MOST_INPUTS:,} more", None)] if len(urls) > _MOST_INPUTS else [])]


def output_links(manifest: Manifest) -> list[Link]:
    """What lies beside the report."""
    parts = [part.path for part in (*manifest.parts[:1], *manifest.failure_parts[:1])]
    return [Link(name, quote(name)) for name in (MANIFEST, *parts)]


def commands(manifest: Manifest, url: str) -> list[Command]:
    """What a person may want to do next; the job file's name isn't known here."""
    place = shlex.quote(url)
    again = [Command("ask the failed rows again", "promptmill run job.yaml --retry-failed")] if manifest.failed else []
    return [
        *again,
        Command("answer rows that were added or changed", "promptmill run job.yaml"),
        Command("as one file for a spreadsheet", f"promptmill export {place} --to answers.xlsx"),
    ]


def _href(url: str, output: str) -> str | None:
    scheme = urlsplit(url).scheme
    if scheme in ("http", "https"):
        return url
    if "://" in url or "://" in output or _PATTERN & set(url):
        return None
    return quote(os.path.relpath(url, output))
