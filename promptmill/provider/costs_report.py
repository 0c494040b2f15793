"""Reads OpenAI's costs report: what an organization, or one of its projects, paid on each day for each line item.

It takes an admin key, which can do more than send requests. So the key goes to the address that the environment names, and
never to one that a job, a manifest or a redirect names.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from promptmill.bounded_json import load_json
from promptmill.errors import PromptmillError
from promptmill.provider.access import address_in_environment
from promptmill.provider.addresses import read_address
from promptmill.provider.home import HomeHttpClient
from promptmill.provider.redaction import redact, secrets_of
from promptmill.shorten import shorten

if TYPE_CHECKING:
    from openai import OpenAI

_MOST_DAYS = 180  # of one page
_MOST_PAGES = 20  # ten years
_MOST_DIGITS = 40  # of an amount


class NoReport(PromptmillError):
    """The provider gave no costs report; the text says why."""


def read_costs(key: str, project: str, since: int) -> list[tuple[float, str, Decimal]]:
    """Begin of the UTC day, line item, US dollars: from `since` (seconds since the epoch) to now. Blocks.

    `key` is an admin key; an empty `project` means the whole organization.

    Raises: NoReport, its text without the key; CredentialsError when OPENAI_BASE_URL is empty or no address.
    """
    import openai

    address = read_address(address_in_environment())
    client = openai.OpenAI(
        admin_api_key=key, base_url=address.base_url, timeout=20.0, max_retries=2, http_client=HomeHttpClient()
    )
    try:
        return [line for page in _pages(client, project, since) for line in _lines(page)]
    except openai.OpenAIError as error:
        said = shorten(redact(str(error), secrets_of(key, {})), 300)
        raise NoReport(f"The provider gave no costs report: {said}") from None
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # JSON of another shape
        raise NoReport(f"The provider's costs report can't be read: {type(error).__name__}.") from None


def _pages(client: "OpenAI", project: str, since: int) -> Iterator[dict[str, Any]]:
    from openai import omit

    after = ""
    for _ in range(_MOST_PAGES):
        answer = client.admin.organization.usage.with_raw_response.costs(
            start_time=since,
            bucket_width="1d",
            group_by=["line_item"],
            limit=_MOST_DAYS,
            project_ids=[project] if project else omit,
            page=after or omit,
        )
        page = load_json(answer.content)
        yield page
        after = str(page.get("next_page") or "")
        if not page.get("has_more") or not after:
            return
    raise ValueError("it has no last page")


def _lines(page: dict[str, Any]) -> Iterator[tuple[float, str, Decimal]]:
    for bucket in page["data"]:
        for result in bucket["results"]:
            amount = result["amount"]
            if amount["currency"].lower() != "usd":
                raise ValueError("another currency")
            yield float(bucket["start_time"]), str(result["line_item"] or ""), _decimal(amount["value"])


def _decimal(value: object) -> Decimal:
    text = str(cast("float | str", value))
    amount = Decimal(text) if len(text) <= _MOST_DIGITS else Decimal("NaN")
    if not amount.is_finite():
        raise ValueError("no amount")
    return amount
