"""The job's own limit on the length of an answer. Pure."""

from collections.abc import Mapping
from typing import Any

from promptmill.errors import JobError

_NAMES = ("max_completion_tokens", "max_output_tokens", "max_tokens")


def output_limit(parameters: Mapping[str, Any]) -> int | None:
    """Tokens of one answer at most; None where the job doesn't say. Raises: JobError for a limit that is no number."""
    for name in _NAMES:
        limit = parameters.get(name)
        if limit is None:
            continue
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise JobError(
                f"request.parameters.{name} is {limit!r}; it must be a whole number of tokens, 1 or more. Fix it."
            )
        return limit
    return None
