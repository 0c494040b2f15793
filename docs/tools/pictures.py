"""Make the pictures in docs/pictures/ from a real run: `python -m docs.tools.pictures` (`make pictures`).

The run answers examples/reviews.csv by the simulator, in a pseudo-terminal. The terminal's picture is what it shows when more
than half of the rows are answered; the report's is what Chromium makes of the page.
"""

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.text import Text

from docs.tools.screen import shown
from promptmill.simulator import Simulator, SimulatorOptions

_ROOT = Path(__file__).parents[2]
_PICTURES = _ROOT / "docs/pictures"
_COLUMNS = 84
_TYPED = "promptmill run job.yaml"
_INIT = (
    *("init", "--data", "reviews.csv", "--model", "gpt-6-luna", "--labels", "positive,negative"),
    *("--prompt", "Is this review positive or negative? {{ text }}"),
)
_FONT_FACES = re.compile(r"@font-face \{.*?\}", re.DOTALL)  # rich's, which name another server
_OPTIONS = SimulatorOptions(latency_seconds=1.2, latency_jitter=0.4, requests_per_minute=3000, error_500=0.02)


def main() -> None:
    """Make all pictures again."""
    _PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, Simulator(_OPTIONS) as provider:
        folder = Path(name)
        shutil.copy(_ROOT / "examples/reviews.csv", folder)
        environment = _environment(provider.base_url)
        for words in (_INIT, ("sample", "job.yaml")):
            subprocess.run([*_command(), *words], cwd=folder, env=environment, check=True, capture_output=True)
        frames = _frames(folder, environment)
        half = next(frame for frame in frames if (found := _rows(frame)) and found[0] > found[1] / 2)
        _draw(half, _PICTURES / "running.svg")
        for colours in ("light", "dark"):
            _photograph(folder / "reviews-answers/_report.html", _PICTURES / f"report-{colours}.png", colours == "dark")


def _environment(base_url: str) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "OPENAI_", "NO_COLOR"))
    }
    terminal = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": str(_ROOT)}
    return {**kept, **terminal, "OPENAI_API_KEY": "any", "OPENAI_BASE_URL": base_url}


def _command() -> list[str]:
    return [sys.executable, "-m", "promptmill"]


def _frames(folder: Path, environment: dict[str, str]) -> list[list[str]]:
    """What the terminal shows after each piece that the run writes."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, _COLUMNS, 0, 0))
    words = [*_command(), *_TYPED.split()[1:]]
    run = subprocess.Popen(words, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    written, frames = "", list[list[str]]()
    while piece := _read(ours):
        written += piece
        frames.append(shown(written))
    os.close(ours)
    if run.wait() != 0:
        raise SystemExit(f"the run ended with exit code {run.returncode}: {written[-2000:]}")
    return frames


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 65536).decode(errors="replace")
    except OSError:  # Linux says so when nobody writes any more
        return ""


def _rows(frame: list[str]) -> tuple[int, int] | None:
    """How many rows of how many the display counts as answered, if it shows a whole frame."""
    text = "\n".join(Text.from_ansi(line).plain for line in frame)
    found = re.search(r"rows +([\d,]+) of ([\d,]+)", text)
    if found is None or "left" not in text:
        return None
    done, total = (int(group.replace(",", "")) for group in found.groups())
    return done, total


def _draw(lines: list[str], path: Path) -> None:
    """A frame as an SVG without a link to anything."""
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=_COLUMNS, file=nowhere, force_terminal=True, color_system="truecolor")
        console.print(Text(f"$ {_TYPED}", style="bold"))
        for line in lines:
            console.print(Text.from_ansi(line.rstrip()), soft_wrap=True)
    drawn = console.export_svg(title="promptmill", unique_id="terminal")
    path.write_text(_FONT_FACES.sub("", drawn), "utf-8")


def _photograph(page: Path, path: Path, is_dark: bool) -> None:
    """The top of a page as a PNG."""
    browser = shutil.which("chromium") or sys.exit("chromium isn't installed. Install Debian's package chromium.")
    dark = ["--blink-settings=preferredColorScheme=0"] if is_dark else ["--blink-settings=preferredColorScheme=1"]
    size = ["--window-size=1100,820", "--hide-scrollbars", "--virtual-time-budget=3000"]
    words = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        *size,
        *dark,
        f"--screenshot={path}",
        page.as_uri(),
    ]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
