"""Offers the few keys of a job that everybody needs as flat parameters of a flow, the first fields of a form.

A form with all of the job's sixty keys would hide them. Prefect's UI can hide only fields behind a tab (form.py), so the
whole job stays behind one, and these fields come before it.
"""

from collections.abc import Mapping

KEYS = {
    "name": "name",
    "input_url": "input.url",
    "model": "request.model",
    "prompt": "request.user",
    "output_url": "output.url",
    "budget_usd": "budget_usd",
    "provider": "provider",
}  # parameter → key of the job
_OF_SOME = {"deadline": "deadline"}  # parameters that only some flows have


def basics(**given: str | float | None) -> dict[str, object]:
    """Overrides for the parameters that a person filled in; an empty text counts as not filled in."""
    keys = {**KEYS, **_OF_SOME}
    return {keys[name]: value for name, value in given.items() if value is not None and value != ""}


def with_basics(overrides: Mapping[str, object] | None, given: Mapping[str, object]) -> dict[str, object]:
    """Both together; if they name the same key, `overrides` wins."""
    return {**given, **(overrides or {})}
