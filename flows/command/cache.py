"""The commands that look after a cache of answers: stats, prune and import."""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.command import console
from flows.command.arguments import AsJson
from promptmill.errors import SetupError

if TYPE_CHECKING:  # so that the command starts without importing it
    from promptmill.storage import Storage

app = typer.Typer(help="Look after the answers that outputs share.", no_args_is_help=True)
_SETTING = "PROMPTMILL_CACHE_URL"
_DAY_SECONDS = 86_400.0
MaybeUrl = Annotated[str | None, typer.Argument(metavar="CACHE", help=f"The cache's URL. Default: {_SETTING}.")]


def _open(url: str | None) -> "Storage":
    """The cache that a person names or the settings name. Raises: SetupError."""
    from promptmill.planning.cached import open_cache

    found = os.environ.get(_SETTING, "").strip() if url is None else url
    if not found:
        raise SetupError(f"no cache is named. Give its URL, or set {_SETTING}.")
    return open_cache(found, "CACHE" if url is not None else None)


@app.command()
def stats(cache: MaybeUrl = None, as_json: AsJson = False) -> None:
    """Count what a cache holds."""
    from dataclasses import asdict

    from promptmill.cache.upkeep import stats as count

    storage = _open(cache)
    with _telling(storage):
        found = count(storage)
    span = "" if found.first is None or found.last is None else f", answered {_day(found.first)} to {_day(found.last)}"
    console.say(
        f"{storage.shown}: {found.entries:,} answers in {found.segments:,} segments, {found.bytes:,} bytes{span}."
    )
    for name in found.unreadable:
        console.say(
            f"{name} isn't a readable segment, and no run takes an answer from it. Remove it if it isn't somebody else's."
        )
    if as_json:
        console.print_json(asdict(found))


@app.command()
def prune(
    cache: MaybeUrl = None,
    older_than: Annotated[
        float | None, typer.Option("--older-than", metavar="DAYS", min=0, help="Drop answers that are older.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Merge small segments, and drop old answers; runs may use the cache meanwhile."""
    from dataclasses import asdict

    from promptmill.cache.upkeep import prune as tidy

    storage = _open(cache)
    with _telling(storage):
        done = tidy(storage, float("-inf") if older_than is None else time.time() - older_than * _DAY_SECONDS)
    console.say(f"{storage.shown}: {done.removed:,} segments merged, {done.dropped:,} answers dropped.")
    if as_json:
        console.print_json(asdict(done))


@app.command(name="import")
def import_(
    outputs: Annotated[list[str], typer.Argument(metavar="OUTPUT", help="URLs of finished outputs.")],
    cache: Annotated[str | None, typer.Option("--cache", metavar="URL", help=f"Default: {_SETTING}.")] = None,
    base_url: Annotated[
        str | None,
        typer.Option("--base-url", metavar="URL", help="Who gave the answers. Default: OPENAI_BASE_URL, else OpenAI."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add the answers of outputs that were made without the cache."""
    from promptmill.planning.opened_job import open_output
    from promptmill.provider.access import address_in_environment
    from promptmill.runs.cache_import import import_output

    storage, found = _open(cache), dict[str, Any]()
    for url in outputs:
        output = open_output(url)
        with _telling(storage):
            found[output.shown] = import_output(
                storage, output, address_in_environment() if base_url is None else base_url
            )
        console.say(f"{output.shown}: {found[output.shown]:,} answers added to {storage.shown}.")
    if as_json:
        console.print_json(found)


@contextmanager
def _telling(storage: "Storage") -> Generator[None]:
    """Turns errors of the cache's storage into one with a remedy. Raises: StorageFailed."""
    from promptmill.errors import StorageFailed
    from promptmill.storage import STORAGE_ERRORS

    try:
        yield
    except STORAGE_ERRORS as error:
        raise StorageFailed(
            f"the cache {storage.shown} can't be read or written: {storage.describe(error)}. Check its URL and the "
            "permissions, then give the same command again."
        ) from error


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
