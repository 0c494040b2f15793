"""`check` and `estimate` send nothing, so they need no key; what sends rows says that one is missing."""

import json
import sys
from pathlib import Path

import pytest

from flows.__main__ import main
from tests.support.commands import write_job
from tests.support.jobs import MakeJob


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(("check",), 0, id="check"),
        pytest.param(("estimate",), 0, id="estimate"),
        pytest.param(("estimate", "--set", "provider=a-block"), 0, id="estimate-with-a-block"),
        pytest.param(("estimate", "--set", "cache=memory://cache"), 0, id="estimate-with-a-cache"),
        pytest.param(("run",), 2, id="run"),
        pytest.param(("sample",), 2, id="sample"),
    ],
)
@pytest.mark.parametrize(
    "azure", [pytest.param(None, id="openai"), pytest.param("https://ours.openai.azure.com", id="azure")]
)
def test_a_command_needs_a_key_only_if_it_sends_rows(
    words: tuple[str, ...],
    code: int,
    azure: str | None,
    make_job: MakeJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    if azure is not None:
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", azure)
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.setattr(sys, "argv", ["promptmill", words[0], str(write_job(make_job(3), tmp_path)), *words[1:]])
    try:
        main()
        ended = 0
    except SystemExit as error:
        ended = error.code or 0
    shown = capfd.readouterr()

    assert ended == code, shown.err
    assert ("no API key" in shown.out + shown.err or "no key for it" in shown.out + shown.err) is (
        words[0] != "estimate"
    )
    assert ("a run would end at once: " in shown.out) is (words[0] == "check")


def test_check_tells_a_program_what_it_tells_a_person(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "argv", ["promptmill", "check", "--json", str(write_job(make_job(3), tmp_path))])
    with pytest.raises(SystemExit):
        main()
    told = json.loads(capfd.readouterr().out)

    assert (told["rows"], told["files"], told["columns"]) == (3, 1, ["id", "text"])
    assert told["first_request"]["messages"] == [{"role": "user", "content": "Label: text number 0"}]
    assert "no API key" in told["problem"]
    assert float(told["estimate"]["online_usd"]) > 0
    assert any("nobody has run a sample" in note for note in told["notes"])
