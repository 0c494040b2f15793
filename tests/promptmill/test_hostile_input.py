"""No input can hold a process or fill its memory: each ends in a clear error within 5 seconds of CPU and 500 MB.

The cases run in other processes, because the system may kill a case that goes wrong. A template's error is that of its row.
"""

import ctypes
import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.support.hostile_documents import DOCUMENTS, read_document
from tests.support.hostile_rows import INPUTS, read_input, write_input
from tests.support.hostile_schemas import ANSWERS, SCHEMAS, judge_answer, use_schema
from tests.support.paths import ROOT

MOST_SECONDS = 5
MOST_MEGABYTES = 500
ADDRESS_SPACE = 4 << 30  # a case that goes wrong must not take the machine along

TEMPLATES = {  # rendered with text = 1,000 characters, big = 1,000,000, tags = 1,000 texts
    "product": '{{ "x" * 10**9 }}',
    "product-of-a-column": "{{ text * 10**9 }}",
    "product-of-a-list": "{{ [1] * 10**9 }}",
    "power": "{{ 9 ** (9 ** 9) }}",
    "power-by-rounds": "{% for a in range(9000) %}{% for b in range(9000) %}{{ 7**2000 * 7**2000 }}{% endfor %}{% endfor %}",
    "percent-width": '{{ "%1000000000d" % 1 }}',
    "percent-precision": '{{ "%.1000000000f" % 1.5 }}',
    "percent-width-from-argument": '{{ "%*d" % (10**9, 1) }}',
    "percent-repeated": '{{ ("%(a)s" * 100000) % {"a": big} }}',
    "filter-format": '{{ "%1000000000d" | format(1) }}',
    "method-format": '{{ "{:>1000000000}".format(1) }}',
    "method-format-nested": '{{ "{:>{w}}".format(1, w=10**9) }}',
    "method-format-of-a-column": '{{ (text ~ "{:>1000000000}").format(1) }}',
    "method-format-map": '{{ "{a:>1000000000}".format_map({"a": 1}) }}',
    "method-format-repeated": '{{ ("{0}" * 100000).format(big) }}',
    "replace": '{{ big | replace("x", big) }}',
    "replace-by-name": '{{ big | replace(old="x", new=big) }}',
    "replace-nothing": '{{ big | replace("", big) }}',
    "method-replace": '{{ big.replace("x", big) }}',
    "join": "{{ range(10000) | join(big) }}",
    "join-lazy": "{{ range(10000) | map('string') | join(big) }}",
    "join-repeated": "{{ ([big] * 100000) | join }}",
    "method-join": "{{ big.join(['a'] * 100000) }}",
    "method-join-lazy": "{{ big.join(range(10000) | map('string')) }}",
    "indent": '{{ ("a\\n" * 1000) | indent(10**9) }}',
    "indent-text": '{{ ("a\\n" * 100000) | indent(big) }}',
    "wordwrap": "{{ big | wordwrap(1, wrapstring=big) }}",
    "wordwrap-long": "{{ (big ~ big ~ big ~ big) | wordwrap(2) }}",
    "center": "{{ text.center(10**9) }}",
    "zfill": "{{ text.zfill(10**9) }}",
    "expandtabs": "{{ text.expandtabs(10**9) }}",
    "translate": "{{ big.translate({120: big}) }}",
    "to-bytes": "{{ (1).to_bytes(10**9, 'big') | b64 }}",
    "batch": "{{ [1] | batch(10**9, 0) | list | length }}",
    "slice": "{{ [1] | slice(10**9) | list | length }}",
    "round": "{{ 1.5 | round(10**9, 'ceil') }}",
    "sum-of-lists": "{{ ([[1] * 100000] * 1000) | sum(start=[]) | length }}",
    "range": "{{ range(10**8) | list }}",
    "loop": "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}",
    "loop-that-prints": "{% for a in range(10000) %}{{ big }}{% endfor %}",
    "loop-with-a-condition": "{% for a in range(10000) %}{% for b in range(10000) if false %}{% endfor %}{% endfor %}",
    "loop-of-comparisons": "{% for a in range(10000) %}{{ big ~ a == big ~ 0 }}{% endfor %}",
    "loop-of-slices": "{% for a in range(10000) %}{% if big[1:] %}{% endif %}{% endfor %}",
    "loop-of-splits": "{% for a in range(10000) %}{% set b = big.split('x') %}{% endfor %}",
    "loop-of-sorts": "{% for a in range(10000) %}{% set b = big | sort %}{% endfor %}",
    "loop-of-searches": "{% for a in range(10000) %}{% set b = big.count('y') %}{% endfor %}",
    "loop-in-a-set": "{% set a %}{% for a in range(10000) %}{{ big }}{% endfor %}{% endset %}{{ a }}",
    "selects": "{{ range(10000)"
    + " | select" * 80
    + " | list | length"
    + " }}{{ range(10000)"
    + " | select" * 80
    + " | list }}",
    "concatenations": "{% set a = big %}" + "{% set a = a ~ a %}" * 40 + "{{ a }}",
    "additions": "{% set a = big %}" + "{% set a = a + a %}" * 40 + "{{ a }}",
    "additions-of-lists": "{% set a = tags %}" + "{% set a = a + a %}" * 40 + "{{ a | length }}",
    "lists-of-itself": "{% set a = [1] %}" + "{% set a = [a, a] %}" * 60 + "{{ a | tojson }}",
    "lists-of-itself-printed": "{% set a = [1] %}" + "{% set a = (a, a) %}" * 60 + "{{ a }}",
    "lists-of-itself-compared": "{% set a = [1] %}" + "{% set a = {1: a, 2: a} %}" * 60 + "{{ a == a }}",
    "macro": "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
    "macro-twice": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "macro-that-grows": "{% macro m(n, t) %}{% if n %}{{ m(n - 1, t ~ t) }}{% endif %}{% endmacro %}{{ m(99, big) }}",
    "recursive-loop": "{% for a in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
    "deep-json": "{{ tags | map('list') | list | tojson(2) }}" * 30,
    "title": "{% for a in range(1000) %}{{ (big | title)[:1] }}{% endfor %}",
    "urlencode": "{% for a in range(1000) %}{{ (big | urlencode)[:1] }}{% endfor %}",
    "striptags": "{% for a in range(1000) %}{{ (('<a>' * 300000) | striptags)[:1] }}{% endfor %}",
    "many-tags": "{{ text }}" * 400_000,
    "long-code": "{{ [" + "1," * 400_000 + "] }}",
    "long-source": "x" * 5_000_000 + "{{ text }}",
    "many-braces": "{{" * 1_000_000,
    "sum-of-many": "{{ 1" + "+1" * 40_000 + " }}",
}


def _row() -> dict[str, Any]:
    return {"text": "x" * 1_000, "big": "x" * 1_000_000, "tags": ["x" * 100] * 1_000}


def _render(template: str) -> str:
    from tests.support.rendering import render

    return render(template, _row())


def _render_output_url(folder: Path) -> object:
    from datetime import date

    from promptmill.job.spec import Job
    from promptmill.planning.prepared_job import resolve_output

    request = {"model": "m", "user": "x"}
    output = {"url": 'memory://{{ "x" * 10**9 }}'}
    job = {"name": "j", "input": {"url": "memory://a.csv"}, "request": request, "output": output}
    return resolve_output(Job.model_validate(job), date(2026, 11, 26))


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    **{f"template-{name}": (lambda _, text=text: _render(text), "") for name, text in TEMPLATES.items()},
    "output-url": (_render_output_url, "output.url"),
    **{
        f"document-{name}": (lambda folder, name=name: read_document(name, folder), DOCUMENTS[name][2])
        for name in DOCUMENTS
    },
    **{f"input-{name}": (lambda folder, name=name: read_input(name, folder), INPUTS[name][2]) for name in INPUTS},
    **{f"schema-{name}": (lambda _, name=name: use_schema(name), SCHEMAS[name][1]) for name in SCHEMAS},
    **{f"answer-{name}": (lambda _, name=name: judge_answer(name), ANSWERS[name][2]) for name in ANSWERS},
}


def run_cases(names: list[str], folder: Path) -> None:
    """Run cases in this process and print how each ended; for a process of its own."""
    from promptmill.errors import PromptmillError
    from promptmill.memory import spare_pandas
    from promptmill.prompts.request_builder import RowUnrenderable

    spare_pandas()  # as each command and deployed run begins: it takes fifty megabytes
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    for name in names:
        _forget_peak()
        started = time.process_time()
        message = None
        try:
            CASES[name][0](folder)
        except (PromptmillError, RowUnrenderable) as error:
            message = str(error)
        seconds = time.process_time() - started
        print(json.dumps({"name": name, "message": message, "seconds": seconds, "megabytes": _peak()}), flush=True)


def _forget_peak() -> None:
    """Give freed memory back, and let the kernel take what this process holds then for its peak: each case has its own."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    """The most memory that this process held during the case (elsewhere than on Linux: since its start), in MB.

    On Linux getrusage tells a new process the peak of the one that started it, so the kernel's own book is read.
    """
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    book = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in book.splitlines() if line.startswith("VmHWM:")) / 1024


def _run_apart(names: list[str], folder: Path) -> dict[str, dict[str, Any]]:
    """How each case ended; a case that took its process along has no entry."""
    program = f"from pathlib import Path; from {__name__} import run_cases; run_cases({names!r}, Path({str(folder)!r}))"
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=300, check=False)
    found = {outcome["name"]: outcome for outcome in map(json.loads, run.stdout.splitlines())}
    assert run.returncode == 0 or len(found) < len(names), "the process doesn't end well after its last case"
    return found


class _Outcomes:
    """How the cases of a kind ended, which share a process."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._by_kind: dict[str, dict[str, dict[str, Any]]] = {}

    def of(self, name: str) -> dict[str, Any]:
        kind = _kind_of(name)
        if kind not in self._by_kind:
            names = [other for other in CASES if other.startswith(f"{kind}-")]
            folder = self._folders.mktemp(kind)
            for case in INPUTS:  # this process writes them: that may take more than reading them may
                if f"input-{case}" in names:
                    write_input(case, folder)
            self._by_kind[kind] = _run_apart(names, folder)
        assert name in self._by_kind[kind], "the case, or one before it, took its process along"
        return self._by_kind[kind][name]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> _Outcomes:
    return _Outcomes(tmp_path_factory)


def _kind_of(name: str) -> str:
    """The cases of a kind share a process: input-parquet, template."""
    return "-".join(name.split("-")[: 2 if name.startswith("input-") else 1])


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.xdist_group(f"hostile-{_kind_of(name)}")) for name in CASES],  # runs once
)
def test_hostile_input_ends_in_a_clear_error(name: str, outcomes: _Outcomes) -> None:
    found = outcomes.of(name)

    assert found["message"] is not None
    assert CASES[name][1] in found["message"]
    assert len(found["message"]) < 2_000
    assert found["seconds"] < MOST_SECONDS
    assert found["megabytes"] < MOST_MEGABYTES
