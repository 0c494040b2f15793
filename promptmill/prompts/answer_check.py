"""Whether an answer follows the strict form of a schema, and where it doesn't, within a fixed amount of work.

The schema may be a stranger's and the answer is a model's, and the check holds the event loop: so each step is charged to
a budget, as a template's are (prompts/template_meter.py), and gives the same result on every machine. The package
`jsonschema` can't be bounded in this way: it compares every two elements for `uniqueItems`, tries all branches of nested
`anyOf` (2^n of them), and quotes the whole answer in every error. It still checks the schema itself
(response_schema.py), and a test compares the two.
Only what strict mode leaves of a schema is known here (strict_schema.py). `format` says nothing, as by default in the
standard (JSON Schema 2020-12, 7.2.1, read 2026-11-26).
"""

from collections.abc import Mapping
from typing import Any, cast

from promptmill.prompts.faults import Budget, Fault, Rule, show
from promptmill.prompts.patterns import Pattern
from promptmill.prompts.references import DEFINITIONS, resolve
from promptmill.prompts.schema_size import too_large
from promptmill.prompts.value_rules import pattern_rule, value_rules

_MAX_PATTERN_WEIGHT = 500_000  # of all patterns of a schema (patterns.py): RE2 compiles that in about a second


class AnswerCheck:
    """The check of one strict schema, prepared once."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Raises: JobError for a pattern that can't be used."""
        self._definitions: Mapping[str, Any] = schema.get("$defs", {})
        self._schema = schema
        self._referred: dict[str, Rule] = {}
        self._pattern_weight = 0
        self._inner = {  # in the order in which faults are looked for
            "additionalProperties": self._make_others,
            "properties": self._make_properties,
            "prefixItems": self._make_prefix,
            "items": self._make_items,
            "anyOf": self._make_branches,
        }
        self._root = self._rule(schema, "#")
        for name, inner in self._definitions.items():  # those that nothing refers to may have a wrong pattern too
            self._refer(DEFINITIONS + name.replace("~", "~0").replace("/", "~1"), inner)

    def find_fault(self, answer: object) -> Fault | None:
        """The first fault of an answer; None when it follows the schema. Raises: TooMuchWork, RecursionError."""
        return self._root(answer, Budget())

    def _rule(self, schema: Mapping[str, Any], place: str) -> Rule:
        """The check of a value against the schema at a place: of the value itself first, then of what is inside it."""
        if "$ref" in schema:
            return self._refer(str(schema["$ref"]))
        rules = value_rules(schema)
        if "pattern" in schema:
            rules.append(self._pattern(schema["pattern"], place))
        if "required" in schema:
            rules.append(_required(schema["required"]))
        rules += [make(schema[word], schema, place) for word, make in self._inner.items() if word in schema]
        steps = 1 + len(rules)

        def check(value: Any, budget: Budget) -> Fault | None:
            budget.charge(steps)
            for rule in rules:
                if (fault := rule(value, budget)) is not None:
                    return fault
            return None

        return check

    def _pattern(self, source: str, place: str) -> Rule:
        pattern = Pattern(source, place)
        self._pattern_weight += pattern.weight
        if self._pattern_weight > _MAX_PATTERN_WEIGHT:
            raise too_large(
                f"has patterns of a weight of more than {_MAX_PATTERN_WEIGHT:,} together (at {place}), which is the limit"
            )
        return pattern_rule(pattern)

    def _refer(self, reference: str, schema: Any = None) -> Rule:
        """The check that a `$ref` stands for, which is made when something asks for it first: it may refer to itself."""

        def check(value: Any, budget: Budget) -> Fault | None:
            budget.charge()
            return self._referred[reference](value, budget)

        if reference not in self._referred:
            self._referred[reference] = check
            target: Any = self._schema if reference == "#" else schema or resolve(reference, self._definitions) or {}
            self._referred[reference] = self._rule(target, reference)
        return check

    def _make_properties(self, properties: Mapping[str, Any], schema: Mapping[str, Any], place: str) -> Rule:
        """`properties`."""
        rules = {name: self._rule(inner, f"{place}/properties/{name}") for name, inner in properties.items()}

        def check(value: Any, budget: Budget) -> Fault | None:
            if not isinstance(value, dict):
                return None
            known = cast(dict[str, Any], value)
            budget.charge(len(rules))
            for name, rule in rules.items():
                if name in known and (fault := rule(known[name], budget)) is not None:
                    return fault.inside(name)
            return None

        return check

    def _make_others(self, inner: Any, schema: Mapping[str, Any], place: str) -> Rule:
        """`additionalProperties`."""
        names = frozenset(cast(Mapping[str, Any], schema.get("properties", {})))
        rule = self._rule(inner, f"{place}/additionalProperties") if isinstance(inner, Mapping) else None  # pyright: ignore[reportUnknownArgumentType]

        def check(value: Any, budget: Budget) -> Fault | None:
            if inner is True or not isinstance(value, dict):
                return None
            known = cast(dict[str, Any], value)
            budget.charge(len(known))
            for name in known:
                if name in names:
                    continue
                if rule is None:
                    return Fault(f"Additional properties are not allowed ({show(name)} was unexpected)")
                if (fault := rule(known[name], budget)) is not None:
                    return fault.inside(name)
            return None

        return check

    def _make_items(self, items: Any, schema: Mapping[str, Any], place: str) -> Rule:
        """`items`."""
        rule, first = self._rule(items, f"{place}/items"), len(schema.get("prefixItems", ()))

        def check(value: Any, budget: Budget) -> Fault | None:
            if isinstance(value, list):
                elements = cast(list[Any], value)
                for index in range(first, len(elements)):
                    if (fault := rule(elements[index], budget)) is not None:
                        return fault.inside(index)
            return None

        return check

    def _make_prefix(self, items: Any, schema: Mapping[str, Any], place: str) -> Rule:
        """`prefixItems`."""
        rules = [self._rule(inner, f"{place}/prefixItems/{i}") for i, inner in enumerate(items)]

        def check(value: Any, budget: Budget) -> Fault | None:
            if isinstance(value, list):
                for index, (rule, element) in enumerate(zip(rules, cast(list[Any], value), strict=False)):
                    if (fault := rule(element, budget)) is not None:
                        return fault.inside(index)
            return None

        return check

    def _make_branches(self, branches: Any, schema: Mapping[str, Any], place: str) -> Rule:
        """`anyOf`; where the value has the type of one branch only, the fault is that of this branch."""
        rules = [self._rule(inner, f"{place}/anyOf/{i}") for i, inner in enumerate(branches)]

        def check(value: Any, budget: Budget) -> Fault | None:
            faults: list[Fault] = []
            for rule in rules:
                if (fault := rule(value, budget)) is None:
                    return None
                faults.append(fault)
            meant = [fault for fault in faults if not (fault.is_of_kind and not fault.path)]
            if len(meant) == 1:
                return meant[0]
            return Fault(f"{show(value)} is not valid under any of the given schemas")

        return check


def _required(names: list[str]) -> Rule:
    def check(value: Any, budget: Budget) -> Fault | None:
        if isinstance(value, dict):
            budget.charge(len(names))
            for name in names:
                if name not in value:
                    return Fault(f"{show(name)} is a required property")
        return None

    return check
