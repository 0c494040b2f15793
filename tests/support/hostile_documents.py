"""Job files and schema files that would hold a process or fill its memory, each with a word of the error it ends in."""

import json
from collections.abc import Callable
from pathlib import Path

from promptmill.job.file import load_job, parse_job, parse_override
from promptmill.prompts.response_schema import load_schema

_JOB = "name: j\ninput: {url: a.csv}\nrequest: {model: m, user: x}\noutput: {url: out}\n"


def _laughs(levels: int, inner: str = "[{0}, {0}]") -> str:
    """Each line stands for the one before twice."""
    lines = [f"x{i}: &x{i} {inner.format(f'*x{i - 1}')}" for i in range(1, levels)]
    return "\n".join(["x0: &x0 {a: 1}", *lines]) + "\n"


def _job(**request: object) -> str:
    return json.dumps(
        {"name": "j", "input": {"url": "a"}, "request": {"model": "m", "user": "x", **request}, "output": {"url": "o"}}
    )


DOCUMENTS: dict[str, tuple[str, Callable[[], str], str]] = {  # file name, content, a word of the error
    "aliases": ("job.yaml", lambda: _laughs(60) + _JOB, "values"),
    "aliases-in-a-parameter": (
        "job.yaml",
        lambda: _laughs(60) + _JOB.replace("user: x", "user: x, parameters: {p: *x59}"),
        "values",
    ),
    "aliases-of-long-lists": (
        "job.yaml",
        lambda: f"a: &a [{'1,' * 40_000}]\nb: [{'*a, ' * 40_000}]\n" + _JOB,
        "values",
    ),
    "aliases-in-a-row": ("job.yaml", lambda: _laughs(5_000, "[{0}]") + _JOB, "levels"),
    "alias-of-itself": ("job.yaml", lambda: "a: &a [*a]\n" + _JOB, "never end"),
    "alias-that-stands-inside": ("job.yaml", lambda: "a: &a {b: [{c: *a}]}\n" + _JOB, "inside"),
    "merge-keys": ("job.yaml", lambda: _laughs(60, "{{<<: [{0}, {0}]}}") + _JOB, "values"),
    "merge-keys-many": ("job.yaml", lambda: "a: {" + "<<: {}, " * 40_000 + "}\n" + _JOB, "<<"),
    "lists-deep": ("job.yaml", lambda: "a: " + "[" * 100_000 + "]" * 100_000, "levels"),
    "mappings-deep": ("job.yaml", lambda: "a: " + "{a: " * 100_000, "levels"),
    "blocks-deep": ("job.yaml", lambda: "\n".join(" " * i + "a:" for i in range(2_000)), "levels"),
    "dashes-deep": ("job.yaml", lambda: "- " * 100_000, "levels"),
    "nodes-many": ("job.yaml", lambda: "a: [" + "1," * 3_000_000 + "]", "values"),
    "keys-many": ("job.yaml", lambda: "".join(f"k{i}: 1\n" for i in range(300_000)), "values"),
    "keys-below-the-bound": ("job.yaml", lambda: "".join(f"k{i}: 1\n" for i in range(40_000)), "unknown key"),
    "keys-of-equal-hash": (
        "job.yaml",
        lambda: "".join(f"{i * (2**61 - 1)}: 1\n" for i in range(1, 40_000)),
        "64 bits",
    ),
    "mistakes-many": (
        "job.json",
        lambda: _job(user=None, messages=[{"role": "x", "content": i} for i in range(15_000)]),
        "more mistakes",
    ),
    "scalar-long": ("job.yaml", lambda: "name: " + "x" * 20_000_000, "bytes"),
    "scalar-below-the-bound": ("job.yaml", lambda: _JOB + "provider: [" + "x" * 7_000_000 + "]", "provider"),
    "key-long": ("job.yaml", lambda: _JOB + "? " + "x" * 7_000_000 + "\n: 1\n", "unknown key"),
    "integer-long": ("job.yaml", lambda: _JOB + "chunk_rows: " + "9" * 5_000_000, "digits"),
    "integer-long-in-hexadecimal": ("job.yaml", lambda: _JOB + "chunk_rows: 0x" + "f" * 5_000_000, "digits"),
    "integer-long-in-base-60": ("job.yaml", lambda: _JOB + "chunk_rows: 1" + ":00" * 1_000_000, "digits"),
    "integer-of-900-digits": ("job.yaml", lambda: _JOB + "chunk_rows: " + "9" * 900, "64 bits"),
    "integer-of-70-bits": ("job.yaml", lambda: _JOB + f"chunk_rows: {2**70}", "64 bits"),
    "amount-huge": ("job.yaml", lambda: _JOB + "budget_usd: '1e999999'", "budget_usd"),
    "amount-tiny": ("job.yaml", lambda: _JOB + "budget_usd: '1e-999999'", "budget_usd"),
    "amount-long": ("job.yaml", lambda: _JOB + "budget_usd: '" + "9" * 5_000_000 + "'", "budget_usd"),
    "price-huge": (
        "job.yaml",
        lambda: _JOB + "pricing: {input_per_mtok: '1e999999', output_per_mtok: 1}",
        "input_per_mtok",
    ),
    "discount-tiny": (
        "job.yaml",
        lambda: _JOB + "pricing: {input_per_mtok: 1, output_per_mtok: 1, batch_discount: '1e-999999999'}",
        "batch_discount",
    ),
    "date-that-does-not-exist": ("job.yaml", lambda: "name: 2026-13-45\n", "month"),
    "text-of-nulls": ("job.yaml", lambda: "\0" * 1_000_000, "YAML"),
    "line-breaks": ("job.yaml", lambda: "\n" * 50_000_000, "bytes"),
    "json-deep": ("job.json", lambda: '{"a":' + "[" * 900 + "]" * 900 + "}", "levels"),
    "schema-deep": ("schema.json", lambda: '{"a":' + "[" * 900 + "]" * 900 + "}", "levels"),
    "schema-nodes": ("schema.json", lambda: '{"enum":[' + "1," * 3_000_000 + "1]}", "values"),
    "schema-long": ("schema.json", lambda: '"' + "x" * 20_000_000 + '"', "bytes"),
    "schema-aliases": ("schema.yaml", lambda: _laughs(60) + "type: object", "values"),
    "object-deep": ("object", lambda: _job(parameters={"a": json.loads("[" * 400 + "]" * 400)}), "levels"),
    "override-deep": ("override", lambda: "request.parameters=" + "[" * 10_000, "levels"),
    "override-aliases": (
        "override",
        lambda: (
            "request.parameters={x0: &x0 [1]"
            + "".join(f", x{i}: &x{i} [*x{i - 1}, *x{i - 1}]" for i in range(1, 60))
            + "}"
        ),
        "values",
    ),
}


def read_document(name: str, folder: Path) -> None:
    """Raises: JobError, as a command does for such a file, object or override."""
    kind, content, _ = DOCUMENTS[name]
    if kind == "object":  # as Prefect's API hands it over
        parse_job(json.loads(content()))
    elif kind == "override":
        parse_override(content())
    else:
        path = folder / kind
        path.write_text(content())
        if kind.startswith("job"):
            load_job(str(path))
        else:
            load_schema(str(path))
