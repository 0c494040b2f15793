"""Sandboxed Jinja2 templates over the columns of a row: compiled once, and checked before anything is sent.

A job may come from somebody who may start runs but not write code. So the sandbox keeps a template from Python's
internals, and leaves out or limits what isn't deterministic (`random`, `lipsum`), gets around the sandbox's checks
(`attr`) or fills the memory quickly.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from promptmill.errors import JobError
from promptmill.prompts.template_values import PLAIN, is_none, shield, to_base64, to_json, to_text
from promptmill.shorten import shorten
from promptmill.suggest import did_you_mean, nearest

MAX_RANGE = 10_000
_MAX_PRODUCT = 1_000_000  # characters or elements that `*` may make, bits of a number
_ROW = "row"  # the whole row as a mapping, for columns whose names are no identifiers
REMOVED_FILTERS = ("random", "attr", "center", "pprint", "xmlattr", "urlize")
_PADDING = frozenset({"ljust", "rjust", "center", "zfill", "expandtabs"})  # methods of strings that make long ones
_LISTED_COLUMNS = 20  # in a message
_REASON_CHARACTERS = 300  # of an error of Python or Jinja2, which may quote a value

_RENDER_ERRORS = (
    TemplateError,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    RuntimeError,
    AssertionError,
    MemoryError,
)


class RowUnrenderable(Exception):
    """A template can't be rendered for a row; the message names the template and the reason."""


class _Sandbox(ImmutableSandboxedEnvironment):
    globals: dict[str, Any]
    filters: dict[str, Any]
    tests: dict[str, Any]
    intercepted_binops = frozenset({"*", "**"})

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in _PADDING and super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if _size_of(operator, left, right) > _MAX_PRODUCT:
            raise SecurityError(f"{operator} would make more than {_MAX_PRODUCT:,} characters, elements or bits")
        return super().call_binop(context, operator, left, right)


def _size_of(operator: str, left: Any, right: Any) -> int:
    """How large the result of a product or power would be, in characters, elements or bits."""
    if isinstance(left, int) and isinstance(right, int):
        return abs(left).bit_length() * (abs(right) if operator == "**" else 1) + abs(right).bit_length()
    for sequence, times in ((left, right), (right, left)):
        if isinstance(sequence, str | bytes | list | tuple) and isinstance(times, int):
            return len(sequence) * max(times, 1)  # pyright: ignore[reportUnknownArgumentType]
    return 0


def _limited_range(*limits: int) -> range:
    made = range(*limits)
    if len(made) > MAX_RANGE:
        raise SecurityError(f"range has {len(made):,} elements; the limit is {MAX_RANGE:,}")
    return made


def _make_environment() -> _Sandbox:
    made = _Sandbox(
        undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True, finalize=to_text, cache_size=0
    )
    made.globals.clear()
    made.globals["range"] = _limited_range
    for name in REMOVED_FILTERS:
        del made.filters[name]
    made.filters.update(tojson=to_json, b64=to_base64)
    made.tests["none"] = is_none
    return made


_ENVIRONMENT = _make_environment()


class RowTemplate:
    """A template of a job, and the columns that it needs."""

    def __init__(self, label: str, source: str, available: Sequence[str]) -> None:
        """`label` names it in messages. Raises: JobError when it can't be compiled or names a column that doesn't exist."""
        self.label = label  # request.user, request.messages[1].content, …
        tree, self._template = _compile(label, source)
        _refuse_escapes(label, tree, available)
        wanted = meta.find_undeclared_variables(tree)
        wanted |= {node.name for node in tree.find_all(nodes.Name)} & set(_ENVIRONMENT.globals) & set(available)
        self.needs_row = _ROW in wanted and _ROW not in available
        if self.needs_row:
            wanted = (wanted - {_ROW}) | _row_keys(tree, available)
        for name in sorted(wanted - set(available)):
            raise _missing(label, name, available)
        self.columns = frozenset(wanted)
        self.is_static = not self.columns and not self.needs_row

    def render(self, values: dict[str, object]) -> str:
        """The text for a row's values, as `row_values` gives them. Raises: RowUnrenderable."""
        template = self._template
        try:
            # this low-level way is public too; Template.render copies its values twice, which takes four times as long
            return "".join(template.root_render_func(template.new_context(values, shared=True)))
        except _RENDER_ERRORS as error:
            raise RowUnrenderable(f"{self.label}: {_reason(error)}") from error


def row_values(row: Mapping[str, object], columns: Sequence[str], *, needs_row: bool) -> dict[str, object]:
    """The values that templates see: columns by name and, if a template needs it, all these columns as `row`."""
    values: dict[str, object] = dict(_ENVIRONMENT.globals)
    for name in columns:
        value = row.get(name)
        values[name] = value if value.__class__ in PLAIN else shield(name, value)
    if needs_row:
        values[_ROW] = {name: values[name] for name in columns}
    return values


def _reason(error: Exception) -> str:
    text = shorten(str(error), _REASON_CHARACTERS) or type(error).__name__
    return text if isinstance(error, TemplateError | TypeError | ValueError) else f"{type(error).__name__}: {text}"


def _compile(label: str, source: str) -> tuple[nodes.Template, Template]:
    try:
        source.encode()  # a lone surrogate would fail every row
        return _ENVIRONMENT.parse(source), _ENVIRONMENT.from_string(source)
    except TemplateSyntaxError as error:
        raise JobError(
            f"{label} has a mistake in line {error.lineno}: {str(error.message).rstrip('.')}; templates are Jinja2 and "
            f"name columns. {_hint(error.message or '')}"
        ) from error
    except (TemplateError, SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise JobError(
            f"{label} can't be compiled ({type(error).__name__}: {error}); templates are Jinja2. Simplify it."
        ) from error


def _hint(message: str) -> str:
    """The name of the nearest filter or test, when the template names one that doesn't exist."""
    for kind, known in (("filter", _ENVIRONMENT.filters), ("test", _ENVIRONMENT.tests)):
        if message.startswith(f"No {kind} named "):
            return did_you_mean(message.split("'")[1], known)
    return "Fix it there."


def _refuse_escapes(label: str, tree: nodes.Template, available: Sequence[str]) -> None:
    """Refuse what would fail for every row: Python's internals, and other templates, which don't exist here."""
    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        raise JobError(
            f"{label} includes another template (line {node.lineno}); a template can't use another. Write it all in one."
        )
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        name = node.attr if isinstance(node, nodes.Getattr) else _constant(node.arg)
        if isinstance(name, str) and name.startswith("__") and name not in available:
            raise JobError(
                f"{label} reaches for {name!r} (line {node.lineno}); templates may use a row's values, not Python's "
                "internals. Leave it out."
            )


def _row_keys(tree: nodes.Template, available: Sequence[str]) -> set[str]:
    """The columns that a template reads through `row`: those that it names, or all when that can't be known."""
    uses = list(_row_uses(tree))
    mentions = [node for node in tree.find_all(nodes.Name) if node.name == _ROW]
    if len(uses) != len(mentions) or None in uses:
        return set(available)
    return {use for use in uses if use is not None}


def _row_uses(tree: nodes.Template) -> Iterator[str | None]:
    """The key of each `row["key"]` and `row.key`; None for a computed key or a method of the mapping."""
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        if not isinstance(node.node, nodes.Name) or node.node.name != _ROW:
            continue
        name = node.attr if isinstance(node, nodes.Getattr) else _constant(node.arg)
        is_method = isinstance(node, nodes.Getattr) and hasattr(dict, node.attr)
        yield name if isinstance(name, str) and not is_method else None


def _constant(node: nodes.Expr) -> object:
    return node.value if isinstance(node, nodes.Const) else None


def _missing(label: str, name: str, available: Sequence[str]) -> JobError:
    listed = ", ".join(available[:_LISTED_COLUMNS]) + (", …" if len(available) > _LISTED_COLUMNS else "")
    guess = nearest(name, available)
    return JobError(
        f"{label} names the column {name!r}, which the dataset doesn't have; it has {listed or 'no columns'}. "
        + (f"Did you mean {guess!r}?" if guess else "Name one of them.")
    )
