"""Which categories of Azure's content filter stopped a prompt or an answer. Pure.

Shapes: openai/openai-dotnet#55 (2024-06-14) and compl-ai/compl-ai#20 (2025-02-27) for an error's `innererror`,
lobehub/lobehub#1192 (2024-01-30) for `prompt_filter_results`; `content_filters` of responses as remembered on 2026-11-27.
"""

from collections.abc import Iterable, Mapping

from promptmill.provider.json_fields import list_of, mapping_of, name_of


def _categories_in(results: object) -> list[str]:
    """The categories that a filter acted on, each with its severity where it says one: `violence (high)`."""
    found: list[str] = []
    for category, value in mapping_of(results).items():
        told = mapping_of(value)
        if told.get("filtered") is True:
            severity = name_of(told.get("severity"))
            found.append(f"{category} ({severity})" if severity else str(category))
    return found


def categories_of_choice(choice: Mapping[str, object]) -> str:
    """Why an answer of chat was cut; empty where the provider doesn't say."""
    return ", ".join(_categories_in(choice.get("content_filter_results")))


def categories_of_response(payload: Mapping[str, object]) -> str:
    """Why an answer of responses was cut; empty where the provider doesn't say."""
    return _joined(mapping_of(part).get("content_filter_results") for part in list_of(payload.get("content_filters")))


def categories_of_prompt(payload: Mapping[str, object]) -> str:
    """Why a prompt was stopped inside a 200; empty where it wasn't."""
    told = list_of(payload.get("prompt_filter_results"))
    return _joined(mapping_of(part).get("content_filter_results") for part in told)


def categories_of_error(inner: Mapping[str, object]) -> str:
    """Why a prompt was refused, by an error's `innererror`; empty where it doesn't say."""
    return _joined(inner.get(name) for name in ("content_filter_result", "content_filter_results"))


def _joined(results: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(category for result in results for category in _categories_in(result)))
