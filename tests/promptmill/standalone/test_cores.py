"""How many processes a run is given: as many as help, and never more than its limits and its container allow."""

import os
from pathlib import Path
from typing import Literal

import pytest

from promptmill.standalone import cores
from promptmill.standalone.cores import choose_processes, granted_cores, usable_cores


@pytest.mark.parametrize(
    ("asked", "rows", "a_second", "concurrency", "processes"),
    [
        pytest.param(1, 10**6, None, None, 1, id="one-is-the-default"),
        pytest.param(6, 10**6, None, None, 6, id="a-number-is-kept-to"),
        pytest.param(6, 4, None, None, 4, id="no-more-than-rows"),
        pytest.param(6, 10**6, None, 2, 2, id="no-more-than-requests-in-flight"),
        pytest.param("auto", 10**6, None, None, 4, id="auto-takes-all-cores"),
        pytest.param("auto", 25_000, None, None, 2, id="auto-asks-what-rows-are-worth"),
        pytest.param("auto", 100, None, None, 1, id="auto-leaves-a-small-run-alone"),
        pytest.param("auto", 0, None, None, 1, id="nothing-left"),
        pytest.param("auto", 10**6, 8.3, None, 1, id="auto-leaves-a-run-with-a-low-limit-alone"),
        pytest.param("auto", 10**6, 500.0, None, 2, id="auto-asks-what-the-limit-is-worth"),
    ],
)
def test_processes_of_a_run_on_four_cores(
    asked: int | Literal["auto"], rows: int, a_second: float | None, concurrency: int | None, processes: int
) -> None:
    assert choose_processes(asked, 4, rows, a_second, concurrency) == processes


@pytest.mark.parametrize(
    ("text", "granted"),
    [
        pytest.param("150000 100000", 1.5, id="one-and-a-half"),
        pytest.param("max 100000", None, id="all"),
        pytest.param("-1 100000", None, id="all-of-cgroup-1"),
        pytest.param(" ", None, id="nothing-said"),
    ],
)
def test_what_a_container_is_granted(text: str, granted: float | None) -> None:
    assert granted_cores(text) == granted


def test_no_more_cores_are_used_than_the_container_is_granted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(cores, "_CPU_MAX", tmp_path / "cpu.max")
    monkeypatch.setattr(cores, "_CFS", tmp_path)
    without = usable_cores()
    (tmp_path / "cpu.max").write_text("200000 100000\n")

    assert (without, usable_cores()) == (4, 2)
