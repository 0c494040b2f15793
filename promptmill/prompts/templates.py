"""Templates over the columns of a row: compiled once, and checked before anything is sent.

They run in a sandbox (sandbox.py), within the limits of one rendering (template_meter.py).
"""

from collections.abc import Iterator, Mapping, Sequence

from jinja2 import Template, TemplateError, TemplateSyntaxError, meta, nodes

from promptmill.errors import JobError
from promptmill.prompts.joined_template import joined_template
from promptmill.prompts.sandbox import ENVIRONMENT, join_pieces
from promptmill.prompts.template_values import PLAIN, shield
from promptmill.shorten import shorten
from promptmill.suggest import did_you_mean, nearest

_MAX_SOURCE = 1 << 22  # characters of a template
_MAX_CODE = 100_000  # of them inside {{ … }} and {% … %}: Jinja2 compiles about 200,000 a second
_ROW = "row"  # the whole row as a mapping, for columns whose names are no identifiers
_LISTED_COLUMNS = 20  # in a message
_REASON_CHARACTERS = 300  # of an error of Python or Jinja2, which may quote a value

RENDER_ERRORS = (
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


class RowTemplate:
    """A template of a job, and the columns that it needs."""

    def __init__(self, label: str, source: str, available: Sequence[str]) -> None:
        """`label` names it in messages. Raises: JobError when it can't be compiled or names a column that doesn't exist."""
        self.label = label  # request.user, request.messages[1].content, …
        tree, self._template = _compile(label, source)
        _refuse_escapes(label, tree, available)
        wanted = meta.find_undeclared_variables(tree)
        wanted |= {node.name for node in tree.find_all(nodes.Name)} & set(ENVIRONMENT.globals) & set(available)
        self.needs_row = _ROW in wanted and _ROW not in available
        if self.needs_row:
            wanted = (wanted - {_ROW}) | _row_keys(tree, available)
        for name in sorted(wanted - set(available)):
            raise _missing(label, name, available)
        self.columns = frozenset(wanted)
        self.is_static = not self.columns and not self.needs_row
        self._joined = joined_template(tree, self.columns)
        self.first_text, self.later_text = _constant_texts(
            tree
        )  # the same for every row: before what varies, and after

    def join(self, row: Mapping[str, object]) -> str | None:
        """The text for a row's values, as the dataset has them; None where `render` must make it."""
        return None if self._joined is None else self._joined.render(row)

    def render(self, values: dict[str, object]) -> str:
        """The text for a row's values, as `row_values` gives them. Raises: RowUnrenderable."""
        template = self._template
        try:
            # Template.render copies its values twice, and new_context lists all globals, which only imports need: a context
            # made so takes a fifth of the time
            context = ENVIRONMENT.context_class(ENVIRONMENT, values, template.name, template.blocks)
            return join_pieces(template.root_render_func(context))
        except RENDER_ERRORS as error:
            raise RowUnrenderable(f"{self.label}: {_reason(error)}") from error


def row_values(row: Mapping[str, object], columns: Sequence[str], *, needs_row: bool) -> dict[str, object]:
    """The values that templates see: columns by name and, if a template needs it, all these columns as `row`."""
    values: dict[str, object] = dict(ENVIRONMENT.globals)
    for name in columns:
        value = row.get(name)
        try:
            values[name] = value if value.__class__ in PLAIN else shield(name, value)
        except RecursionError as error:
            raise RowUnrenderable(f"column {name!r} is nested too deeply for a template. Leave it out") from error
    if needs_row:
        values[_ROW] = {name: values[name] for name in columns}
    return values


def _reason(error: Exception) -> str:
    text = shorten(str(error), _REASON_CHARACTERS) or type(error).__name__
    return text if isinstance(error, TemplateError | TypeError | ValueError) else f"{type(error).__name__}: {text}"


def _compile(label: str, source: str) -> tuple[nodes.Template, Template]:
    _refuse_large(label, source)
    try:
        source.encode()  # a lone surrogate would fail every row
        return ENVIRONMENT.parse(source), ENVIRONMENT.from_string(source)
    except TemplateSyntaxError as error:
        raise JobError(
            f"{label} has a mistake in line {error.lineno}: {str(error.message).rstrip('.')}; templates are Jinja2 and "
            f"name columns. {_hint(error.message or '')}"
        ) from error
    except (TemplateError, SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise JobError(
            f"{label} can't be compiled ({type(error).__name__}: {error}); templates are Jinja2. Simplify it."
        ) from error


def render_once(label: str, source: str, values: Mapping[str, str]) -> str:
    """The text of a template that no row fills, such as output.url. Raises: JobError."""
    _, template = _compile(label, source.removesuffix("\n"))
    try:
        return join_pieces(template.root_render_func(template.new_context(dict(values))))
    except RENDER_ERRORS as error:
        known = ", ".join(f"{{{{ {name} }}}}" for name in values)
        raise JobError(
            f"{label} {shorten(source, 100)!r} can't be rendered: {_reason(error)}. It may use {known}."
        ) from error


def _refuse_large(label: str, source: str) -> None:
    """Refuse a template that would take Jinja2 long to compile. Raises: JobError."""
    code, place = 0, 0
    while code <= _MAX_CODE and (start := _next_tag(source, place)) >= 0:
        end = source.find("}", start)
        place = len(source) if end < 0 else end + 1
        code += place - start
    if len(source) > _MAX_SOURCE or code > _MAX_CODE:
        raise JobError(
            f"{label} has {len(source):,} characters, of which {code:,} or more are code; the limits are {_MAX_SOURCE:,} "
            f"and {_MAX_CODE:,}. Shorten it, or move long texts into a column."
        )


def _next_tag(source: str, place: int) -> int:
    """The place of the next `{{` or `{%`, -1 where there is none."""
    brace = source.find("{", place)
    while brace >= 0 and source[brace + 1 : brace + 2] not in ("{", "%"):
        brace = source.find("{", brace + 1)
    return brace


def _hint(message: str) -> str:
    """The name of the nearest filter or test, when the template names one that doesn't exist."""
    for kind, known in (("filter", ENVIRONMENT.filters), ("test", ENVIRONMENT.tests)):
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


def _constant_texts(tree: nodes.Template) -> tuple[str, str]:
    """The plain text before the first expression or statement of a template, and that between and after them."""
    first, later, is_first = list[str](), list[str](), True
    for node in tree.body:
        parts: list[nodes.Node] = list(node.nodes) if isinstance(node, nodes.Output) else [node]
        for part in parts:
            if isinstance(part, nodes.TemplateData):
                (first if is_first else later).append(part.data)
            else:
                is_first = False
    return "".join(first), "".join(later)


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
