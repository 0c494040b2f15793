"""Shows the provider's costs report beside an audit, if the environment has an admin key."""

import os
from typing import Any

from promptmill.audit.bounds import Audit
from promptmill.audit.provider_costs import CostLine, compare, costs_sentences, costs_values, day_of, first_day
from promptmill.audit.records import Found
from promptmill.errors import PromptmillError


def admin_key() -> str:
    """The key in the environment that may read costs; empty if there is none."""
    return os.environ.get("OPENAI_ADMIN_KEY", "").strip()


def beside_costs_report(audit: Audit, found: Found, model: str, key: str) -> tuple[dict[str, Any] | None, list[str]]:
    """The report beside the audit, as JSON values and as sentences. If there is no report, a sentence says why."""
    since = first_day(found)
    if since is None:
        return None, ["Nobody knows on which days this output was paid for, so no costs report was read."]
    project = os.environ.get("OPENAI_PROJECT_ID", "").strip()
    from promptmill.provider.costs_report import read_costs  # the SDK, which an audit needs only here

    try:
        lines = [CostLine(day_of(began), item, usd) for began, item, usd in read_costs(key, project, int(since))]
    except PromptmillError as error:
        return None, [str(error)]
    except (ValueError, OverflowError, OSError):
        return None, ["The provider's costs report names a day that no calendar has."]
    check = compare(lines, [model], audit)
    scope = f"in project {project}" if project else "in the whole organization"
    return costs_values(check), costs_sentences(check, model, scope)
