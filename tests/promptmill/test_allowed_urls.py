"""What a job may name: everything on the command line, and what the operator lists in a deployed run."""

import asyncio
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import fsspec
import pytest

from promptmill import allowed_urls
from promptmill.allowed_urls import (
    MODULES_SETTING,
    OPEN,
    URLS_SETTING,
    close_to_unlisted,
    is_listed_module,
    locate,
    read_rules,
    verdict,
)
from promptmill.closed_addresses import is_closed
from promptmill.dataset.files import Files
from promptmill.errors import JobError
from promptmill.job.file import load_job
from promptmill.job.spec import Input, Job
from promptmill.planning.cached import cache_of
from promptmill.prompts.response_schema import load_schema
from promptmill.storage import Storage, open_filesystem

LISTED = ",".join(
    [
        "/data/in",
        "file:///srv/jobs/",
        "s3://lake/reviews/",
        "s3://whole-bucket",
        "http://127.0.0.1:9000/open/",
        "https://data.example.com/public",
        "simplecache::s3://lake/reviews/",
        "github://team:repo@main/",
    ]
)
NOTHING = read_rules({})
SOME = read_rules({URLS_SETTING: LISTED})
ADDRESSES = {
    "data.example.com": ("93.184.216.34",),
    "intranet.example.com": ("127.0.0.1",),
    "cloud.example.com": ("::1",),
}

# url, may a deployed run use it where LISTED is listed, and where nothing is
CASES = [
    ("/data/in/rows.parquet", True, False),
    ("/data/in", True, False),
    ("/data/in/", True, False),
    ("/data/in/*.csv", True, False),
    ("/data/in/./rows.csv", True, False),
    ("/data/in/../in/rows.csv", True, False),
    ("file:///data/in/rows.csv", True, False),
    ("file:/data/in/rows.csv", True, False),
    ("local:///data/in/rows.csv", True, False),
    ("/srv/jobs/reviews.yaml", True, False),
    ("/data/inner/rows.csv", False, False),
    ("/data", False, False),
    ("/data/in/../other/rows.csv", False, False),
    ("/data/in/*/../../../etc/passwd", False, False),
    ("file:///data/in/../../etc/passwd", False, False),
    ("/etc/passwd", False, False),
    ("file:///etc/passwd", False, False),
    ("file://localhost/etc/passwd", False, False),
    ("local:/etc/passwd", False, False),
    ("//etc/passwd", False, False),
    ("rows.csv", False, False),
    ("~/.aws/credentials", False, False),
    ("s3://lake/reviews/today.parquet", True, True),
    ("s3://lake/reviews/*.parquet", True, True),
    ("s3a://lake/reviews/today.parquet", True, True),
    ("s3://whole-bucket/anything", True, True),
    ("s3://whole-bucket-of-others/anything", False, True),
    ("s3://lake/payroll/today.parquet", False, True),
    ("s3://lake/reviews/../payroll/today.parquet", False, True),
    ("s3://lake/reviews/%2e%2e/payroll", False, True),
    ("gs://lake/reviews/today.parquet", False, True),
    ("abfs://lake/reviews/today.parquet", False, True),
    ("memory://scratch/rows.csv", False, True),
    ("https://data.example.com/public/rows.csv", True, True),
    ("https://DATA.example.com/public?day=1", True, True),
    ("https://data.example.com/private/rows.csv", False, True),
    ("https://data.example.com/public/../private/rows.csv", False, True),
    ("https://data.example.com/public/..%5cprivate", False, True),
    ("https://data.example.com@127.0.0.1/public/", False, False),
    ("https://data.example.com\\@127.0.0.1/public/", False, None),
    ("http://127.0.0.1:9000/open/rows.csv", True, False),
    ("http://127.0.0.1:9000/rows.csv", False, False),
    ("http://127.0.0.1:9000/open/../admin", False, False),
    ("http://127.0.0.1:90001/open/rows.csv", False, None),
    ("http://127.0.0.1/", False, False),
    ("http://127.9.9.9/", False, False),
    ("http://localhost/", False, False),
    ("http://localhost.:8080/", False, False),
    ("http://deep.localhost/", False, False),
    ("http://2130706433/", False, False),
    ("http://0x7f.1/", False, False),
    ("http://0177.0.0.1/", False, False),
    ("http://127.1/", False, False),
    ("http://0.0.0.0/", False, False),
    ("http://0/", False, False),
    ("http://[::1]/", False, False),
    ("http://[::]/", False, False),
    ("http://[::ffff:127.0.0.1]/", False, False),
    ("http://[::ffff:a9fe:a9fe]/", False, False),
    ("http://[64:ff9b::a9fe:a9fe]/", False, False),
    ("http://[2002:7f00:1::]/", False, False),
    ("http://[fe80::1%25eth0]/", False, False),
    ("http://[fd00:ec2::254]/latest/", False, False),
    ("http://169.254.169.254/latest/meta-data/", False, False),
    ("http://2852039166/latest/meta-data/", False, False),
    ("http://100.100.100.200/latest/", False, False),
    ("http://user:word@169.254.169.254/", False, False),
    ("https://intranet.example.com/rows.csv", False, False),
    ("https://cloud.example.com/rows.csv", False, False),
    ("https://data.example.com/a\nb", False, False),
    ("simplecache::s3://lake/reviews/rows.csv", True, False),
    ("simplecache::s3://lake/payroll/rows.csv", False, False),
    ("simplecache::s3://lake/reviews/::file:///etc/passwd", False, False),
    ("simplecache::file:///data/in/rows.csv", False, False),
    ("s3://lake/reviews/::file:///etc/passwd", False, False),
    ("zip://rows.csv::/data/in/rows.zip", False, False),
    ("zip://etc/passwd", False, False),
    ("tar:///data/in/rows.tar", False, False),
    ("reference://lake/index.json", False, False),
    ("dir:///etc", False, False),
    ("github://team:repo@main/rows.csv", True, False),
    ("sftp://127.0.0.1/etc/passwd", False, False),
    ("ftp://files.example.com/rows.csv", False, False),
    ("smb://files/rows.csv", False, False),
    ("hdfs://namenode/rows.csv", False, False),
    ("data:,a%0Ab", False, False),
    ("FILE:///etc/passwd", False, False),
]


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of hosts that need no network."""
    real = allowed_urls.addresses_of
    monkeypatch.setattr(allowed_urls, "addresses_of", lambda host: ADDRESSES.get(host) or real(host))


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A process that carries a deployed run; `listed`, a folder, is the only place that it may use."""
    folder = tmp_path / "listed"
    folder.mkdir()
    monkeypatch.setenv(URLS_SETTING, str(folder))
    monkeypatch.setattr(allowed_urls, "_rules", OPEN)  # to which it is set back
    close_to_unlisted()
    return folder


@pytest.mark.parametrize(("url", "where_listed", "where_nothing_is"), CASES, ids=[case[0] for case in CASES])
def test_a_deployed_run_uses_only_what_is_open_or_listed(
    url: str, where_listed: bool, where_nothing_is: bool | None
) -> None:
    target = locate(url)

    assert verdict(target, OPEN) is None
    assert (verdict(target, SOME) is None) == where_listed
    if where_nothing_is is not None:  # None: no URL, which nothing can open
        assert (verdict(target, NOTHING) is None) == where_nothing_is


def test_local_folders_alone_leave_remote_urls_open() -> None:
    rules = read_rules({URLS_SETTING: "/data/in, /srv"})

    assert verdict(locate("s3://lake/rows.csv"), rules) is None
    assert verdict(locate("/srv/rows.csv"), rules) is None
    assert verdict(locate("http://169.254.169.254/"), rules) is not None


@pytest.mark.parametrize(
    ("entry", "url", "may"),
    [
        pytest.param("/", "/etc/passwd", True, id="the-whole-disk"),
        pytest.param("s3://", "s3://any/thing", True, id="a-whole-protocol"),
        pytest.param("s3://", "gs://any/thing", False, id="another-protocol"),
        pytest.param("data/in", "data/in/rows.csv", False, id="relative-entries-allow-nothing"),
        pytest.param("~/data", "~/data/rows.csv", False, id="home-entries-allow-nothing"),
        pytest.param(" , ,", "/etc/passwd", False, id="empty-entries-allow-nothing"),
    ],
)
def test_an_entry_allows_what_is_below_it(entry: str, url: str, may: bool) -> None:
    assert (verdict(locate(url), read_rules({URLS_SETTING: entry})) is None) == may


def test_a_link_is_judged_by_where_it_leads(closed: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    (closed / "innocent.csv").symlink_to(tmp_path / "secret.csv")
    (closed / "elsewhere").symlink_to(tmp_path)

    for url in ("innocent.csv", "elsewhere/secret.csv", "*.csv", ""):
        with pytest.raises(JobError, match="isn't listed"):
            Files(Input(url=f"{closed}/{url}"))
    with pytest.raises(JobError, match=r"output\.url .* isn't listed"):
        Storage(f"{closed}/elsewhere/out")


def test_a_listed_link_lists_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    rules = read_rules({URLS_SETTING: str(tmp_path / "link")})

    assert verdict(locate(f"{tmp_path}/real/rows.csv"), rules) is None
    assert verdict(locate(f"{tmp_path}/link/rows.csv"), rules) is None


@pytest.mark.parametrize(
    ("module", "may"),
    [("schemas", True), ("schemas.reviews", True), ("schemas_of_others", False), ("os", False), ("sche", False)],
)
def test_a_module_is_imported_only_where_its_package_is_listed(module: str, may: bool) -> None:
    assert is_listed_module(module, read_rules({MODULES_SETTING: "other, schemas"})) == may
    assert not is_listed_module(module, NOTHING)
    assert is_listed_module(module, OPEN)


def test_a_deployed_run_imports_no_unlisted_module(closed: Path) -> None:
    with pytest.raises(JobError, match=MODULES_SETTING):
        load_schema("tests.support.not_even_there:Model")


def test_a_cache_is_opened_only_where_it_is_listed_unless_the_operator_names_it(
    closed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {
        "name": "j",
        "input": {"url": "i"},
        "request": {"model": "m", "user": "{{ text }}"},
        "output": {"url": "o"},
    }
    job = Job.model_validate({**values, "cache": str(tmp_path / "cache")})
    monkeypatch.setenv("PROMPTMILL_CACHE_URL", str(tmp_path / "operators"))

    with pytest.raises(JobError, match=r"cache .*is a local path that isn't listed"):
        cache_of(job)

    assert cache_of(job.model_copy(update={"cache": f"{closed}/cache"})) is not None
    assert cache_of(job.model_copy(update={"cache": None})) is not None


def test_a_schema_file_is_opened_only_where_it_is_listed(closed: Path, tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text('{"type": "object"}')

    with pytest.raises(JobError, match=r"request\.response_schema .* isn't listed"):
        load_schema(str(tmp_path / "schema.json"))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("root:x:0:0:hunter2:/root\n\t- [", id="no-yaml"),
        pytest.param("hunter2", id="a-text"),
        pytest.param("{password: hunter2}", id="other-keys"),
        pytest.param("hunter2: {a: hunter2}", id="another-key"),
        pytest.param("a: *hunter2", id="an-alias"),
        pytest.param("a: !hunter2 b", id="a-tag"),
        pytest.param("@hunter2", id="a-token"),
        pytest.param("hunter2: 1\nhunter2", id="half-a-mapping"),
    ],
)
def test_an_error_about_somebodys_file_never_quotes_it(closed: Path, text: str) -> None:
    (closed / "file").write_text(text)
    overrides = {
        "name": "x",
        "input.url": "s3://x/y",
        "request.model": "m",
        "request.user": "u",
        "output.url": "s3://x/z",
    }

    with pytest.raises(JobError) as caught:
        load_job(str(closed / "file"), overrides)

    assert "hunter2" not in str(caught.value)
    assert str(closed / "file") in str(caught.value)


def test_an_error_about_a_job_file_still_says_what_is_wrong_with_it(closed: Path) -> None:
    (closed / "job.yaml").write_text("{name: x, input: {url: a}, request: {modle: b}, output: {url: c}}")

    with pytest.raises(JobError, match="Did you mean 'model'"):
        load_job(str(closed / "job.yaml"))


def test_nothing_is_closed_until_a_deployed_run_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URLS_SETTING, "/nowhere")

    assert open_filesystem(str(tmp_path), "input.url")[1] == str(tmp_path)


class _Redirect(BaseHTTPRequestHandler):
    """Sends everybody on to the metadata of the cloud."""

    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", "http://169.254.169.254/latest/meta-data/")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[HTTPServer]:
    """A web server on loopback that redirects."""
    running = HTTPServer(("127.0.0.1", 0), _Redirect)
    Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


async def _get(url: str) -> None:
    from promptmill.closed_addresses import guarded_client

    async with await guarded_client() as session, session.get(url):
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_client_of_a_deployed_run_connects_to_no_closed_address(server: HTTPServer, host: str) -> None:
    with pytest.raises(OSError, match="loopback"):
        asyncio.run(_get(f"http://{host}:{server.server_port}/"))


def test_a_redirect_leads_to_no_closed_address(server: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from promptmill import closed_addresses

    monkeypatch.setattr(closed_addresses, "is_closed", lambda address: address != "127.0.0.1" and is_closed(address))

    with pytest.raises(OSError, match=r"169\.254\.169\.254"):
        asyncio.run(_get(f"http://127.0.0.1:{server.server_port}/"))


def test_an_unlisted_server_is_asked_by_the_guarded_client(closed: Path) -> None:
    filesystem, _ = open_filesystem("https://data.example.com/rows.csv", "input.url")

    assert filesystem.storage_options["get_client"].__name__ == "guarded_client"


def test_every_protocol_that_fsspec_knows_is_closed_or_known_to_be_harmless() -> None:
    open_ones = {name for name in fsspec.available_protocols() if verdict(locate(f"{name}://a/b"), NOTHING) is None}

    assert open_ones <= {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory", "http", "https"}
