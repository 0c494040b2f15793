"""Rows are submitted by what an earlier plan wrote down: the same rows as a look at all of them would submit."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.batch.plan_record import forget_plan
from promptmill.batch.row_numbers import NOWHERE, decode_numbers, decode_outcomes, encode_numbers, encode_outcomes
from promptmill.checkpoints.answer_files import ZERO_USD, answers_table
from promptmill.errors import BudgetExhausted, ProviderRefused
from promptmill.job.spec import Job
from promptmill.planning.kept import find_kept
from promptmill.planning.rows import render_chunk
from promptmill.provider.transport import Credentials
from promptmill.records import Completion, Failure, Request, Usage
from tests.support.examples import examples
from tests.support.jobs import plan
from tests.support.rows import write_rows
from tests.support.waves import Fate, Killed, Waves

_FATES: list[Fate] = ["answered", "answered", "answered", "refused", "failed", "unrun", "unread", "lost"]
Draw = Callable[..., Any]


def _job(folder: Path, texts: Sequence[str | None], **changes: Any) -> Job:
    rows = str(write_rows(folder / "rows.parquet", list(texts)))
    values: dict[str, Any] = {
        "name": "test",
        "input": {"url": rows},
        "request": _request(is_shared=True),
        "output": {"url": str(folder / "out")},
        "chunk_rows": 4,
        "batch": {"canary_rows": 0},
        **changes,
    }
    return Job.model_validate(values)


def _request(*, is_shared: bool) -> dict[str, Any]:
    return {
        "model": "gpt-6-luna",
        "user": "Label: {{ text }}",
        "answer_each_row": not is_shared,
        "parameters": {"max_completion_tokens": 64},
    }


def _waves(folder: Path, texts: Sequence[str | None], **changes: Any) -> Waves:
    credentials = Credentials(api_key="test", base_url="http://127.0.0.1:9/v1")
    waves = Waves(plan(_job(folder, texts, **changes), credentials, mode="batch"))
    waves.begin()
    return waves


def _requests(waves: Waves) -> list[str]:
    """The custom_ids of all rows that are sent, in order."""
    prepared, found = waves.run.prepared, waves.run.preflight.plan
    tables = prepared.dataset.read([chunk.rows for chunk in found.chunks])
    ids = list[str]()
    for chunk, table in zip(found.chunks, tables, strict=True):
        rendered = render_chunk(prepared.builder, prepared.job, found, chunk, table)
        pairs = zip(rendered, chunk.takers, strict=True)
        ids += [row.custom_id for row, takes in pairs if isinstance(row, Request) and not takes]
    return ids


def _answer(custom_id: str, is_failure: bool) -> Completion | Failure:
    if is_failure:
        return Failure(custom_id, "server_error", "no", 500, 1, None, Usage(), ZERO_USD, None, 1.0)
    return Completion(custom_id, "x", None, "gpt-6-luna", "stop", Usage(), ZERO_USD, None, 1, "r", 1.0)


class _Story:
    """One output's life, drawn at random."""

    def __init__(self, draw: Draw, folder: Path) -> None:
        self.draw, self.folder = draw, folder
        texts = draw(st.lists(st.sampled_from(["a", "b", *"cdefghijklmnopqrstuvwxyz", None]), min_size=1, max_size=12))
        leftovers = draw(st.sampled_from(["resubmit", "online", "fail"]))
        self.leftovers = leftovers
        self.is_shared = draw(st.booleans())
        self.waves = _waves(
            folder,
            texts,
            request=_request(is_shared=self.is_shared),
            batch={"canary_rows": 0, "leftovers": leftovers},
            retry={"max_attempts": draw(st.integers(1, 3))},
        )
        self.requests = _requests(self.waves)

    def live(self) -> list[str]:
        return [record.key for record in self.waves.ledger().live if record.key in self.waves.ids]

    def wave(self) -> None:
        self.wave_of(self.draw(st.integers(1, 3)), self.draw(st.integers(1, 6)))

    def wave_of(self, files: int, requests: int) -> str:
        """A wave submits what a look at all rows would submit, from the first row on."""
        expected = self.waves.looked_up(self.folder / "copy")
        outcome, sent = self.waves.submit(files, requests)

        assert sent == expected[: len(sent)]
        assert sent == expected or outcome != "all"
        assert len(sent) == min(len(expected), files * requests)
        return outcome

    def kill(self) -> None:
        with suppress(Killed):
            self.waves.submit(1, self.draw(st.integers(1, 6)), killed_at=self.draw(st.sampled_from(_BOUNDARIES)))
        for record in self.waves.ledger().live:
            if record.state == "packed":  # the next step finds its file at the provider, or doesn't
                self.waves.drop(record.key) if self.draw(st.booleans()) else None

    def end(self) -> None:
        if live := self.live():
            key = self.draw(st.sampled_from(live))
            count = len(self.waves.ids[key])
            fates = self.draw(st.lists(st.sampled_from(_FATES), min_size=count, max_size=count))
            status = self.draw(st.sampled_from(["completed", "expired", "cancelled"]))
            with suppress(ProviderRefused):  # none of its answers can be read
                self.waves.end(key, fates, status=status, is_lossy=self.draw(st.booleans()))

    def drop(self) -> None:
        if live := self.live():
            self.waves.drop(self.draw(st.sampled_from(live)))

    def answer_elsewhere(self) -> None:
        """Results are imported."""
        names = self.draw(st.lists(st.sampled_from(self.requests), max_size=3, unique=True)) if self.requests else []
        results = [_answer(name, self.draw(st.booleans())) for name in names]
        if results:
            self.waves.store.save_slice(f"import-{self.waves.now:.0f}", answers_table(results))
            self.waves.now += 1

    def lose_answers(self) -> None:
        """Somebody removes all that a batch brought."""
        ledger = self.waves.ledger()
        keys = sorted(record.key for record in ledger.collected if record.answered)
        if keys:
            key = self.draw(st.sampled_from(keys))
            self.waves.store.delete(
                name for name in self.waves.store.listing().sizes if key in name and "rows/" in name
            )

    def share_otherwise(self) -> None:
        """A run of a job that asks for each row, or no longer does."""
        self.is_shared = not self.is_shared
        job, credentials = self.waves.run.prepared.job, self.waves.run.credentials
        request = job.request.model_copy(update={"answer_each_row": not self.is_shared})
        self.waves.run = plan(job.model_copy(update={"request": request}), credentials, mode="batch")
        self.requests = _requests(self.waves)
        self.restart()

    def restart(self) -> None:
        self.waves.begin(self.draw(st.sampled_from([None, False, True])))

    def damage(self) -> None:
        """A file that can be made again is gone, torn or another."""
        folder = self.folder / "out" / "_checkpoints" / "batches"
        files = sorted(path for path in folder.glob("*") if path.name == "_plan" or path.suffix in {".rows", ".open"})
        if files:
            path = self.draw(st.sampled_from(files))
            data = path.read_bytes()
            path.unlink()
            if (kind := self.draw(st.sampled_from(["gone", "torn", "another"]))) != "gone":
                path.write_bytes(data[:-3] if kind == "torn" else data[:-3] + b"123")


_OTHERS = ["drop", "kill", "answer_elsewhere", "lose_answers", "restart", "share_otherwise", "damage"]
_BOUNDARIES = ["before-intent", "after-intent"]
_EVENTS = [*["wave", "end"] * 4, *_OTHERS]


@settings(max_examples=examples(25))
@given(st.data())
def test_every_wave_submits_the_rows_that_a_look_at_all_rows_would_submit(data: st.DataObject):
    with tempfile.TemporaryDirectory() as folder:
        story = _Story(data.draw, Path(folder))
        for event in data.draw(st.lists(st.sampled_from(_EVENTS), max_size=14)):
            getattr(story, event)()
        waves = story.waves
        outcome = ""
        while outcome != "all" or waves.ledger().live:
            waves.answer_all()
            outcome = story.wave_of(5, 50)
        kept = find_kept(waves.store, waves.run.preflight.plan)
        is_answered = kept.index.holds(story.requests)

        assert waves.looked_up(story.folder / "copy") == []
        assert story.leftovers == "online" or is_answered.all()


@pytest.mark.parametrize(
    ("fates", "plans"),
    [
        pytest.param(["answered"], 1, id="all-are-answered"),
        pytest.param(["answered", "unrun"], 1, id="half-expire"),
        pytest.param(["failed", "answered"], 1, id="half-fail-at-the-server"),
        pytest.param(["refused"], 1, id="all-are-refused"),
        pytest.param(["answered", "lost"], 2, id="rows-that-are-lost-twice-are-given-up-by-a-second-plan"),
    ],
)
def test_one_plan_is_enough_for_all_waves_of_a_run(fates: list[Fate], plans: int, tmp_path: Path):
    waves = _waves(tmp_path, [f"text {number}" for number in range(40)])
    outcome, rounds = "", 0
    while outcome != "all" or waves.ledger().live:
        outcome, _ = waves.submit(1, 7)
        for record in waves.ledger().live if rounds < 3 else ():
            waves.end(record.key, (fates * record.requests)[: record.requests])
        waves.answer_all()
        rounds += 1

    assert waves.plans == plans
    assert waves.looked_up(tmp_path / "copy") == []


def test_rows_that_are_given_up_end_the_job_beside_rows_that_cannot_be_rendered(tmp_path: Path):
    waves = _waves(tmp_path, ["a", None], batch={"canary_rows": 0, "leftovers": "fail"})
    waves.submit(1, 5)
    (key,) = waves.ids
    waves.end(key, ["unrun"])
    outcome, _ = waves.submit(1, 5)

    assert (outcome, waves.plans) == ("all", 2)


def test_a_batch_that_outlives_its_plan_counts_the_tries_before_it(tmp_path: Path):
    waves = _waves(tmp_path, ["a"], retry={"max_attempts": 2})
    for _ in range(2):
        waves.submit(1, 5)
        forget_plan(waves.ledger())
        waves.submit(1, 5)
        (record,) = waves.ledger().live
        waves.end(record.key, ["unrun"])
    outcome, sent = waves.submit(1, 5)

    assert (outcome, sent) == ("all", [])
    assert find_kept(waves.store, waves.run.preflight.plan).index.holds(_requests(waves)).all()


def test_a_budget_leaves_the_same_room_whether_a_plan_is_kept_or_made_again(tmp_path: Path):
    """What the answers cost is a sum over the ledger, instead of a look into all of them."""
    changes = {"budget_usd": "0.00025", "batch": {"canary_rows": 0}}
    texts = [f"text {number}" for number in range(40)]
    kept, again = (_waves(tmp_path / name, texts, **changes) for name in ("kept", "again"))
    waves_of_both = list[tuple[list[str], list[str]]]()
    while not waves_of_both or waves_of_both[-1][0]:
        waves_of_both.append((_wave_of_budget(kept), _wave_of_budget(again, forgets=True)))
        kept.answer_all()
        again.answer_all()

    assert all(mine == others for mine, others in waves_of_both)
    assert (kept.plans, again.plans) == (1, len(waves_of_both))
    assert len(waves_of_both) > 3


def _wave_of_budget(waves: Waves, *, forgets: bool = False) -> list[str]:
    if forgets:
        forget_plan(waves.ledger())
    try:
        return waves.submit(9, 50)[1]
    except BudgetExhausted:
        return []


@given(st.lists(st.integers(NOWHERE, 2**40), max_size=30))
def test_row_numbers_are_read_as_they_were_written(numbers: list[int]):
    found = decode_numbers(encode_numbers(np.array(numbers, np.int64)))

    assert found is not None
    assert found.tolist() == numbers


@given(st.binary(max_size=20), st.integers(0, 100), st.integers(1, 255))
def test_a_changed_byte_in_a_row_file_is_noticed(outcomes: bytes, place: int, change: int):
    data = bytearray(encode_outcomes(np.frombuffer(outcomes, np.uint8)))
    data[place % len(data)] ^= change

    assert decode_outcomes(bytes(data)) is None
    assert decode_outcomes(encode_outcomes(np.frombuffer(outcomes, np.uint8))) is not None
