"""Shapes the form of a deployment's parameters in the Prefect UI. For prefect 3.8.8, `prefect.utilities.callables`.

`prefect deploy` makes the schema of a deployment's parameters from `inspect.signature(flow)`, which prefers the attribute
`__signature__` of the flow. Calls of the flow, by people and by workers, use the signature of its function `flow.fn`. So
we can shape the first for a form without a change to the second. With a default of None the form would choose the tab
"None"; the signature for the form has no default there.
"""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import MISSING

from promptmill.job.basics import KEYS
from promptmill.job.form import FormField
from tasks.prefect_internals.changes import warn_of_change

F = TypeVar("F", bound=Callable[..., Any])


def as_form(flow: F) -> F:
    """The flow; in its deployments' form, optional parameters are fields that may stay empty, the basics come first, and the
    long `job` comes last.
    """
    signature = inspect.signature(flow, eval_str=True)
    shown = signature.replace(
        parameters=[_shown(parameter) for parameter in sorted(signature.parameters.values(), key=_place)]
    )
    flow.__signature__ = shown  # pyright: ignore[reportFunctionMemberAccess]
    if inspect.signature(flow, eval_str=True) != shown or not hasattr(flow, "fn"):
        warn_of_change(
            "a flow's signature can't be replaced beside its function's",
            "The form of new runs in the Prefect UI is harder to fill in; runs aren't affected.",
        )
    return flow


def _place(parameter: inspect.Parameter) -> int:
    if parameter.default is inspect.Parameter.empty:
        return 0  # a signature has no parameter without a default after one with it
    return 1 if parameter.name in KEYS else 3 if parameter.name == "job" else 2


def _shown(parameter: inspect.Parameter) -> inspect.Parameter:
    if parameter.default is not None:
        return parameter
    return parameter.replace(annotation=Annotated[parameter.annotation, FormField()], default=MISSING)
