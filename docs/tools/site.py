"""Build the documentation's site: `python -m docs.tools.site [FOLDER]`, by default into site/ (`make docs`).

The pages lie where a person looks for them on a code host: README.md at the top, the rest in docs/. A site generator takes
one folder, so the pages are copied to one with the paths they have here, and every link between them stays as it is.
Zensical is by the authors of Material for MkDocs, whose own maintenance ended on 2026-11-05 (squidfunk/mkdocs-material, issue
8523, read 2026-11-28). It is younger than 1.0: the lock holds its version.
"""

import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_CONFIG = "zensical.toml"
_AT_THE_TOP = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "benchmarks/README.md")
_SUFFIXES = (".md", ".json", ".svg", ".png")


def pages() -> list[Path]:
    """All files of the site, as paths in the repository."""
    inside = sorted(path for path in (_ROOT / "docs").rglob("*") if path.suffix in _SUFFIXES)
    return [*map(Path, _AT_THE_TOP), *(path.relative_to(_ROOT) for path in inside)]


def build(target: Path) -> None:
    """Replace a folder by the site. Raises: CalledProcessError when a link of a page leads nowhere."""
    with tempfile.TemporaryDirectory() as folder:
        _stage(Path(folder))
        program = Path(sysconfig.get_path("scripts")) / "zensical"
        subprocess.run([program, "build", "--strict"], cwd=folder, check=True)
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(Path(folder) / "site", target)


def _stage(folder: Path) -> None:
    """Put the pages, the settings and the package, whose docstrings are read, into a folder."""
    for page in pages():
        copy = folder / "source" / page
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_ROOT / page, copy)
    shutil.copy(_ROOT / _CONFIG, folder / _CONFIG)
    (folder / "promptmill").symlink_to(_ROOT / "promptmill")


def main() -> None:
    """Read the command line."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else _ROOT / "site"
    build(target.absolute())
    print(f"the site is at {target}/index.html")


if __name__ == "__main__":
    main()
