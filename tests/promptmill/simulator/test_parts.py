"""Faults, options, multipart."""

from collections import Counter

import pytest

from promptmill.simulator.__main__ import parse_option
from promptmill.simulator.http.multipart import MultipartReader, find_boundary
from promptmill.simulator.online.faults import choose_fault, latency_seconds
from promptmill.simulator.options import SimulatorOptions, with_changes

BODY = (
    b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\nContent-Type: text/plain\r\n\r\n'
    b"one\r\n--not the boundary\r\n\r\n--b--\r\n"
)


def test_faults_come_in_their_ratio_and_again_for_the_same_attempt() -> None:
    options = SimulatorOptions(error_500=0.2, reset=0.1, seed=3)
    drawn = [choose_fault(options, b"%d" % body, attempt) for body in range(1000) for attempt in (1, 2)]

    assert drawn == [choose_fault(options, b"%d" % body, attempt) for body in range(1000) for attempt in (1, 2)]
    counted = Counter(drawn)
    assert 330 < counted["error_500"] < 470
    assert 150 < counted["reset"] < 250


def test_fault_attempts_spares_later_attempts() -> None:
    options = SimulatorOptions(error_500=1.0, fault_attempts=2)

    assert [choose_fault(options, b"x", attempt) for attempt in (1, 2, 3)] == ["error_500", "error_500", None]


def test_latency_has_the_mean_that_was_asked_for() -> None:
    options = SimulatorOptions(latency_seconds=2.0, latency_jitter=0.5)
    drawn = [latency_seconds(options, b"%d" % body) for body in range(4000)]

    assert sum(drawn) / len(drawn) == pytest.approx(2.0, rel=0.05)
    assert latency_seconds(SimulatorOptions(latency_seconds=2.0), b"x") == 2.0


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_multipart_reads_the_same_in_pieces_of_any_size(size: int) -> None:
    reader = MultipartReader(find_boundary("multipart/form-data; boundary=b"))
    parts: dict[tuple[str, str | None], bytes] = {}
    for start in range(0, len(BODY), size):
        for part, content in reader.feed(BODY[start : start + size]):
            parts[part.name, part.filename] = parts.get((part.name, part.filename), b"") + content

    assert parts == {("purpose", None): b"batch", ("file", "a.jsonl"): b"one\r\n--not the boundary\r\n"}
    assert reader.is_complete


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param({"rpm": 3}, "unknown options: rpm", id="name"),
        pytest.param({"error_500": 1.5}, "from 0 to 1", id="ratio"),
        pytest.param({"error_500": 0.6, "reset": 0.6}, "more than 1", id="sum"),
        pytest.param({"requests_per_minute": 0}, "more than 0", id="zero-limit"),
        pytest.param({"requests_per_minute": "many"}, "'many'", id="type"),
        pytest.param({"window": "hourly"}, "'hourly'", id="choice"),
    ],
)
def test_impossible_options_are_refused(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        with_changes(SimulatorOptions(), changes)  # pyright: ignore[reportArgumentType]


def test_options_are_read_from_the_command_line_as_json_or_text() -> None:
    given = dict(map(parse_option, ["error_500=0.1", "window=sliding", 'models=["a"]', "reply=x=y", "seed=7"]))

    expected = SimulatorOptions(error_500=0.1, window="sliding", models=("a",), reply="x=y", seed=7)
    assert with_changes(SimulatorOptions(), given) == expected
