"""Every block of code in the pages is run, or, of what can't be run here, checked; a block of an unknown kind fails."""

import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from promptmill.job.defaults import find_defaults
from promptmill.job.file import parse_job
from promptmill.job.spec import Job
from promptmill.simulator import Simulator, SimulatorOptions
from tests.support.blocks import Block, blocks_of, commands_of, fences_of
from tests.support.manifests import check_manifest
from tests.support.page_shell import PageShell
from tests.support.paths import ROOT
from tests.support.unrun_commands import check_words

pytestmark = pytest.mark.xdist_group("pages")  # they share the provider, and the world that takes two runs to make
_TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md")]
PAGES = [page for page in [*_TOP, *sorted((ROOT / "docs").rglob("*.md"))] if fences_of(page)]
SMALLEST: dict[str, Any] = {
    "name": "reviews",
    "input": {"url": "reviews.csv"},
    "request": {"model": "gpt-6-luna", "user": "{{ text }}"},
    "output": {"url": "answers"},
}
JOB = """name: reviews
input: {url: s3://lake/reviews/, id_column: id}
request:
  model: gpt-6-luna
  user: "Is this review positive or negative? {{ text }}"
  parameters: {max_completion_tokens: 50}
output: {url: s3://lake/labels/}
"""
ROWS = 12
UNANSWERED = "batches.md"  # this page's rows have no answers yet


@pytest.fixture(scope="module")
def provider() -> Iterator[Simulator]:
    """One provider for all pages."""
    with Simulator(SimulatorOptions(batch_seconds=0.1)) as running:
        yield running


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, provider: Simulator) -> Path:
    """What the pages take for granted: a lake with reviews, finished outputs over them and a cache; a job file."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "lake/reviews").mkdir(parents=True)
    lines = (ROOT / "examples/reviews.csv").read_text().splitlines(keepends=True)[: ROWS + 1]
    (folder / "lake/reviews/reviews.csv").write_text("".join(lines))
    (folder / "lake/pictures").mkdir()
    for name in ("lamp", "desk"):
        (folder / f"lake/pictures/{name}.jpg").write_bytes(b"\xff\xd8\xff\xe0" + name.encode())
    (folder / "job.yaml").write_text(JOB.replace("s3://lake", "lake"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        shell = PageShell(folder, provider, patch)
        for line in (
            "promptmill -q run job.yaml",
            "promptmill -q run job.yaml --set output.url=lake/out",
            "promptmill cache import lake/labels --cache lake/promptmill-cache",
        ):
            shell.run(line)
    return folder


class Reader:
    """Somebody who follows a page from its first block to its last."""

    def __init__(self, shell: PageShell) -> None:
        self._shell = shell
        self._names: dict[str, Any] = {"__name__": "page"}
        self._printed: str | None = None  # by the block before

    def follow(self, block: Block) -> None:
        """Do what a block says."""
        known = self._KINDS.get(block.kind)
        assert known is not None, f"no test knows what to do with a block of kind {block.kind!r}"
        if block.file is not None:
            self._shell.written.add(block.file)
            path = self._shell.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._shell.here(block.text))
        known(self, block)
        self._printed = self._printed if block.kind in {"sh", "text"} else None

    def _sh(self, block: Block) -> None:
        self._printed = "".join(self._shell.run(line) for line in commands_of(block.text))

    def _text(self, block: Block) -> None:
        """What the block before prints, each line of it; figures may differ."""
        assert self._printed is not None, "no commands stand before this output"
        printed = shape(self._printed)
        wanted = [shape(line) for line in block.text.splitlines() if line.strip() not in {"", "…"}]
        assert [line for line in wanted if line not in printed] == [], self._printed

    def _python(self, block: Block) -> None:
        if block.file is None:
            exec(compile(self._shell.here(block.text), block.place, "exec"), self._names)

    def _yaml(self, block: Block) -> None:
        for values in yaml.safe_load_all(self._shell.here(block.text)):
            if "apiVersion" in values:
                check_manifest(values)
            elif {"name", "input", "request", "output"} <= {*values}:
                parse_job(values)
                self._shell.run(f"promptmill -q check {block.file or _written(block, self._shell)}")
            else:
                assert {*values} <= {*Job.model_fields}, "it is neither a job, nor keys of one, nor a manifest"
                parse_job(merged(SMALLEST, values))

    def _toml(self, block: Block) -> None:
        assert block.file == "promptmill.toml"
        assert tomllib.loads(block.text)
        assert find_defaults(self._shell.folder) is not None

    def _json(self, block: Block) -> None:
        assert all(json.loads(line) for line in block.text.splitlines())

    def _csv(self, block: Block) -> None:
        assert block.file is not None, "a table needs a title: the file that it is"

    def _cron(self, block: Block) -> None:
        """Five fields and a command, which is a reader's own shell's: its words are parsed."""
        *_, command = re.split(r"(?:[\d*/,-]+ ){5}|&& ", block.text.strip())
        check_words(shlex.split(command)[1:])

    def _drawing(self, block: Block) -> None:
        """A picture in letters."""

    _KINDS: ClassVar[dict[str, Callable[["Reader", Block], None]]] = {
        "sh": _sh,
        "text": _text,
        "python": _python,
        "yaml": _yaml,
        "toml": _toml,
        "json": _json,
        "csv": _csv,
        "cron": _cron,
        "drawing": _drawing,
    }


def shape(text: str) -> str:
    """A text without what differs from run to run: figures, frames of tables, blanks."""
    return re.sub(r"[\s│┃┏┓┗┛┡┩└┘├┤┬┴┼━─╇╈┳┴]+", " ", re.sub(r"\d[\d,.]*", "0", text)).strip()


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A job's values with others in their place, section by section."""
    both = values.keys() & changes.keys()
    inner = {
        name: {**values[name], **changes[name]}
        for name in both
        if isinstance(values[name], dict) and "model" not in changes[name]  # else it is a whole request
    }
    return {**values, **changes, **inner}


def _written(block: Block, shell: PageShell) -> str:
    name = re.sub(r"\W", "-", block.place) + ".yaml"
    (shell.folder / name).write_text(shell.here(block.text))
    return name


@pytest.fixture
def follow(
    world: Path, provider: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Path], None]]:
    """Follows a page in a folder of its own; afterwards the provider is as it was."""

    def follow_page(page: Path) -> None:
        folder = tmp_path / "reader"
        shutil.copytree(world, folder)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PROMPTMILL_STATE_URL", str(tmp_path / "state"))
        if page.name == UNANSWERED:
            shutil.rmtree(folder / "lake/labels")
        if "promptmill init" in page.read_text():
            (folder / "job.yaml").unlink()
        reader = Reader(PageShell(folder, provider, monkeypatch))
        blocks = blocks_of(page)
        assert len(blocks) == fences_of(page)
        for block in blocks:
            try:
                reader.follow(block)
            except BaseException as error:
                error.add_note(f"the block at {block.place}")
                raise

    yield follow_page
    usual = SimulatorOptions(batch_seconds=0.1)
    provider.configure(**{name: getattr(usual, name) for name in changed(provider, usual)})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_reader_can_follow_a_page(page: Path, follow: Callable[[Path], None]):
    follow(page)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("```\nls\n```", id="no-kind"),
        pytest.param("```bash\nls\n```", id="unknown-kind"),
        pytest.param("```sh\nls && conda install promptmill\n```", id="unknown-command"),
        pytest.param("```sh\npromptmill check --fast job.yaml\n```", id="unknown-option"),
        pytest.param("```sh\npromptmill deploy --speed 3\n```", id="unknown-option-of-what-isn't-run"),
        pytest.param("```sh\npromptmill check no.yaml\n```", id="it-ends-with-an-error"),
        pytest.param("```sh\nmake docks\n```", id="no-such-target"),
        pytest.param("```sh\npip install 'promptmill[speed]'\n```", id="no-such-extra"),
        pytest.param("```sh\npython deployments/bootstrap.py --fast\n```", id="no-such-option-of-a-script"),
        pytest.param("```sh\nprefect --no-prompt deploy -n online-inference/never\n```", id="no-such-deployment"),
        pytest.param("```sh\npromptmill --version\n```\n```text\npromptmill ten\n```", id="other-output"),
        pytest.param("```text\npromptmill 0.1.0\n```", id="output-of-nothing"),
        pytest.param("```yaml\nlimits: {speed: 3}\n```", id="unknown-key"),
        pytest.param("```yaml\nspeed: 3\n```", id="no-job"),
        pytest.param("```python\nimport promptmill\npromptmill.red('x')\n```", id="python-that-raises"),
        pytest.param('```toml title="promptmill.toml"\nspeed = 3\n```', id="defaults-with-an-unknown-key"),
    ],
)
def test_a_page_that_is_wrong_is_found(text: str, follow: Callable[[Path], None], tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n{text}\n")

    with pytest.raises(BaseException, match=r".") as found:
        follow(page)
    assert any(note.startswith("the block at page.md:3") or ":6" in note for note in found.value.__notes__)


def changed(provider: Simulator, usual: SimulatorOptions) -> list[str]:
    """The options that a page gave the provider."""
    return [name for name in SimulatorOptions.__slots__ if getattr(provider.options, name) != getattr(usual, name)]
