"""The end of all benchmarks: what the pages promise, judged by the figures that were reported."""

from typing import Any

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks.promises import PROMISES, Promise, judge, show_promises
from benchmarks.rig import report
from tests.support.paths import ROOT

PEAK = Promise("README.md", "no row is lost", "flat/*", "peak_mb", at_most=450)
USED = Promise("README.md", "no row is lost", "limits/*", "used.percent", at_least=97)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: f"{promise.lines}-{promise.figure}")
def test_each_promise_is_one_that_its_page_makes(promise: Promise):
    assert promise.words in (ROOT / promise.page).read_text()


@pytest.mark.parametrize(
    ("promise", "lines", "expected"),
    [
        pytest.param(PEAK, [{"benchmark": "flat/20000", "peak_mb": 400}], (400, "holds"), id="within"),
        pytest.param(
            PEAK,
            [{"benchmark": "flat/2", "peak_mb": 451}, {"benchmark": "flat/1", "peak_mb": 400}],
            (451, "doesn't hold"),
            id="the-worst-of-several",
        ),
        pytest.param(
            USED,
            [{"benchmark": "limits/a", "used": {"percent": 96.9}}, {"benchmark": "limits/b", "used": {"percent": 99}}],
            (96.9, "doesn't hold"),
            id="too-little",
        ),
        pytest.param(PEAK, [{"benchmark": "flat", "peak_mb": 1}], (None, "not measured"), id="another-benchmark"),
        pytest.param(PEAK, [{"benchmark": "flat/1", "ratio": 1}], (None, "not measured"), id="another-figure"),
        pytest.param(PEAK, [{"benchmark": "flat/1", "peak_mb": []}], (0, "holds"), id="nothing-bad-found"),
    ],
)
def test_a_promise_is_judged_by_the_worst_figure_that_was_reported(
    promise: Promise, lines: list[dict[str, Any]], expected: tuple[float | None, str]
):
    (judged,) = judge([promise], lines)

    assert expected == (judged.figure, judged.verdict)


def test_the_end_says_of_each_promise_whether_it_holds():
    said: list[str] = []
    reported = [{"benchmark": "flat/20000", "peak_mb": 451}, {"benchmark": "resume/finished", "sent": 0}]

    show_promises(reported, said.append)

    assert "    doesn't hold  flat/* peak_mb 451 (≤ 450)" in said
    assert "    holds         resume/* sent 0 (≤ 0)" in said
    assert "    not measured  campaign lost (≤ 0)" in said
    assert f"\n1 hold, 1 don't hold, {len(PROMISES) - 2} weren't measured." == said[-1]


def test_all_benchmarks_end_with_the_promises_even_where_one_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fail() -> None:
        raise SystemExit("above its budget")

    monkeypatch.setattr(
        benchmarks, "BENCHMARKS", {"start": fail, "flat": lambda: report("flat", ratio=1.01), "scale": fail}
    )

    with pytest.raises(SystemExit, match="above its budget"):
        benchmarks.main()

    said = capsys.readouterr()
    assert '{"benchmark": "flat", "ratio": 1.01}' in said.out
    assert "holds         flat ratio 1.01 (≤ 1.1)" in said.err
