"""Serves the reports of `make serve`'s runs to the browser on this machine, so that the Prefect UI can link to them.

A page of the Prefect UI can't open a file on a disk. This server gives out only files with the name `_report.html` that a
run of ours wrote below a folder which runs may use (PROMPTMILL_ALLOWED_URLS), and only to requests for this machine's name.
"""

import http.server
import os
import sys
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote, urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

from promptmill.allowed_urls import URLS_SETTING
from promptmill.output.manifest import REPORT
from promptmill.planning.standing_output import OUR_REPORT

_HOSTS = (
    "127.0.0.1",
    "localhost",
)  # a request with another name comes from a web page that somebody pointed at this machine


class Reports(http.server.BaseHTTPRequestHandler):
    """Answers with reports, and with nothing else."""

    folders: tuple[Path, ...] = ()

    def do_GET(self) -> None:
        """A report, or 404."""
        page = self._report()
        if page is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def _report(self) -> bytes | None:
        if self.headers.get("Host", "").partition(":")[0] not in _HOSTS:
            return None
        return read_report(unquote(urlsplit(self.path).path), self.folders)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server gives it
        """Log nothing, since the terminal belongs to `make serve`."""


def read_report(path: str, folders: tuple[Path, ...]) -> bytes | None:
    """The report at an absolute path, after following links; None if it isn't ours or lies outside the folders."""
    try:
        real = Path(path).resolve(strict=True)
        if real.name != REPORT or not any(real.is_relative_to(folder) for folder in folders):
            return None
        page = real.read_bytes()
    except (OSError, ValueError):
        return None
    return page if OUR_REPORT in page else None


def allowed_folders(listed: str) -> tuple[Path, ...]:
    """The folders of this machine among the allowed URLs."""
    paths = (url.strip().removeprefix("file://") for url in listed.split(","))
    return tuple(Path(path).resolve() for path in paths if path.startswith("/"))


def main() -> None:
    """Serve until somebody ends it."""
    Reports.folders = allowed_folders(os.environ.get(URLS_SETTING, ""))
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Reports).serve_forever()


if __name__ == "__main__":
    main()
