"""Jinja2 in a sandbox: no way to Python's internals, nothing that differs between machines, and a meter on every operation.

A job may come from somebody who may start runs but not write code. So the sandbox leaves out what isn't deterministic
(`random`, `lipsum`), what gets around its checks (`attr`) and what can't be metered. Jinja2 intercepts operators, calls,
filters and tests; for loops, comparisons, slices and `~` this module puts a filter into the template's tree, under a name
that no template can write.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from jinja2 import StrictUndefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from promptmill.prompts.template_meter import (
    STEP_UNITS,
    charge,
    charge_text,
    charge_value,
    checked_result,
    start_meter,
    stop_meter,
)
from promptmill.prompts.template_operations import charge_call, charge_format, charge_operator, metered
from promptmill.prompts.template_values import is_none, to_base64, to_json, to_text

MAX_RANGE = 10_000
REMOVED_FILTERS = ("random", "attr", "center", "pprint", "xmlattr", "urlize")
# methods that make as much as a number says, or as a table of theirs says
_REMOVED_METHODS = frozenset({"ljust", "rjust", "center", "zfill", "expandtabs", "translate", "maketrans", "to_bytes"})
_CHARGED_TOGETHER = 4_096  # units of pieces, since to charge each would take as long as to render it
_STEP = "charge a step"
_WEIGH = "weigh it"


class _Sandbox(ImmutableSandboxedEnvironment):
    globals: dict[str, Any]
    filters: dict[str, Any]
    tests: dict[str, Any]
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in _REMOVED_METHODS and super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        charge_operator(operator, left, right)
        return checked_result(super().call_binop(context, operator, left, right))

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        args = charge_call(function, args, kwargs)
        return checked_result(super().call(context, function, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> Any:
        """`str.format` and `str.format_map` in the sandbox, charged by what they would print."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def formatted(*args: Any, **kwargs: Any) -> str:
            charge_format(value.__self__, args, kwargs)
            return wrapped(*args, **kwargs)

        return formatted

    @staticmethod
    def concat(pieces: Iterable[str]) -> str:
        """The text of a macro or a block."""
        texts = list(pieces)
        charge_text(sum(map(len, texts)))
        return "".join(texts)

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        _Meters().visit(source)
        source.set_environment(self)
        return super()._generate(source, *args, **kwargs)


class _Meters(NodeTransformer):
    """Puts filters that charge the meter where Jinja2 intercepts nothing."""

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        self.generic_visit(node)
        return _with_meter(node)


def _with_meter(node: nodes.Node) -> nodes.Node:
    if isinstance(node, nodes.For):
        node.body.insert(0, nodes.ExprStmt(_filter(_STEP, nodes.Const(None)), lineno=node.lineno))
        node.test = None if node.test is None else _filter(_STEP, node.test)
    elif isinstance(node, nodes.Compare | nodes.Operand):
        node.expr = _filter(_WEIGH, node.expr)
    elif isinstance(node, nodes.Concat):
        node.nodes = [_filter(_WEIGH, operand) for operand in node.nodes]
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        node.node = _filter(_WEIGH, node.node)
    elif isinstance(node, nodes.List | nodes.Dict) or (isinstance(node, nodes.Tuple) and node.ctx == "load"):
        return _filter(_WEIGH, node)
    return node


def _filter(name: str, value: Any) -> nodes.Filter:
    return nodes.Filter(value, name, [], [], None, None, lineno=value.lineno or 1)


def _step(value: Any) -> Any:
    charge()
    return value


def _weighed(value: Any) -> Any:
    charge_value(value)
    return value


def _limited_range(*limits: int) -> range:
    made = range(*limits)
    if len(made) > MAX_RANGE:
        raise SecurityError(f"range has {len(made):,} elements; the limit is {MAX_RANGE:,}")
    return made


def _make_environment() -> _Sandbox:
    made = _Sandbox(
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        finalize=print_value,
        cache_size=0,
        optimized=False,  # a constant is computed where the meter runs
    )
    made.globals.clear()
    made.globals["range"] = _limited_range
    for name in REMOVED_FILTERS:
        del made.filters[name]
    made.filters.update(tojson=to_json, b64=to_base64)
    made.tests["none"] = is_none
    for table in (made.filters, made.tests):
        table.update({name: metered(name, function) for name, function in table.items()})
    made.filters.update({_STEP: _step, _WEIGH: _weighed})
    return made


def print_value(value: object) -> str:
    """What a template prints for a value, charged to the meter."""
    if not isinstance(value, str):
        charge_value(value)
    return to_text(value)


ENVIRONMENT = _make_environment()


def join_pieces(pieces: Iterator[str]) -> str:
    """The text that a compiled template makes, within the limits of one rendering. Raises: TemplateTooLarge."""
    texts: list[str] = []
    uncharged = 0
    start_meter()
    try:
        for piece in pieces:
            texts.append(piece)
            uncharged += STEP_UNITS + len(piece)
            if uncharged > _CHARGED_TOGETHER:
                charge(uncharged - STEP_UNITS)
                uncharged = 0
        charge(uncharged - STEP_UNITS)
        charge_text(sum(map(len, texts)))
        return "".join(texts)
    finally:
        stop_meter()
