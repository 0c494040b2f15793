"""What is shown of a URL: no password, no token, no signature."""

from pathlib import Path

import orjson
import pytest

import promptmill
from promptmill.job.identity import job_digest
from promptmill.output.differences import describe_difference
from promptmill.output.manifest import public_job, read_manifest
from promptmill.provider.transport import Credentials
from promptmill.public_url import public_text, public_url
from promptmill.storage import Storage
from tests.support.jobs import MakeJob, carry_out

SECRET = "s3cr3t"
URLS = [
    pytest.param(f"https://user:{SECRET}@host/a.csv", "https://host/a.csv", id="password"),
    pytest.param(f"https://{SECRET}@host/a.csv", "https://host/a.csv", id="token-as-user"),
    pytest.param(f"sftp://user:{SECRET}@host:22/out", "sftp://host:22/out", id="password-and-port"),
    pytest.param(f"ftp://user:a/{SECRET}@host/x", "ftp://host/x", id="password-with-a-slash"),
    pytest.param(
        f"https://lake.blob.core.windows.net/c/a.csv?sv=2024&sig={SECRET}%3D",
        "https://lake.blob.core.windows.net/c/a.csv?sv=***&sig=***",
        id="sas-token",
    ),
    pytest.param(
        f"https://b.s3.amazonaws.com/a?versionId=7&X-Amz-Credential={SECRET}/x&X-Amz-Signature={SECRET}",
        "https://b.s3.amazonaws.com/a?versionId=7&X-Amz-Credential=***&X-Amz-Signature=***",
        id="presigned",
    ),
    pytest.param(f"https://h/a#access_token={SECRET}", "https://h/a#access_token=***", id="fragment"),
    pytest.param(
        f"simplecache::https://u:{SECRET}@h/a.csv.gz?token={SECRET}",
        "simplecache::https://h/a.csv.gz?token=***",
        id="chained",
    ),
    pytest.param(
        f"https://user:{SECRET} {SECRET}@host/a b?sig={SECRET} {SECRET}", "https://host/a b?sig=***", id="blanks"
    ),
    pytest.param("s3://lake/part-?/day=1/a.parquet", None, id="glob-before-a-name-and-value"),
    pytest.param("abfs://container@account.dfs.core.windows.net/a", None, id="container-and-account"),
    pytest.param("s3://lake/day=2026-11-26/part-?.parquet", None, id="glob"),
    pytest.param("hdfs://namenode:8020/users/a@b/x", None, id="port-and-at-sign-in-the-path"),
    pytest.param("/data/user:pass@host/a?b=c", None, id="local-path"),
    pytest.param("file:///data/a b.csv", None, id="file"),
    pytest.param("memory://out", None, id="memory"),
]


@pytest.mark.parametrize(("url", "shown"), URLS)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str | None) -> None:
    assert public_url(url) == (url if shown is None else shown)
    assert SECRET not in public_text(f"[Errno 2] no such file: '{url}', nor {url}/x", url)


@pytest.mark.parametrize("url", [param.values[0] for param in URLS if SECRET in str(param.values[0])])
def test_a_job_is_written_without_the_secrets_of_its_urls_and_keeps_its_identity(make_job: MakeJob, url: str) -> None:
    job = make_job(3, input__url=url, output__url=url)
    digest = job_digest(job)
    public = public_job(job)

    assert SECRET.encode() not in orjson.dumps(public)
    assert job_digest(job) == digest != job_digest(make_job(3, input__url=public_url(url)))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param(
            f"no such file: /out?token={SECRET}%2F/x", "no such file: /out?token=***/x", id="path-with-its-query"
        ),
        pytest.param(f"401 for user {SECRET}/ at host", "401 for user *** at host", id="alone-and-decoded"),
        pytest.param("no such bucket: out", "no such bucket: out", id="nothing-secret"),
    ],
)
def test_a_storages_error_shows_no_secret_of_its_url_that_stands_alone(text: str, shown: str) -> None:
    assert public_text(text, f"memory://out?token={SECRET}%2F&x=1") == shown


async def test_an_output_at_a_url_with_a_token_shows_it_nowhere_and_is_found_again(
    make_job: MakeJob, credentials: Credentials, tmp_path: Path
) -> None:
    job = make_job(12, output__url=f"memory://secret-{tmp_path.name}?token={SECRET}")
    await carry_out(job, credentials)
    again = await carry_out(job, credentials)

    storage = Storage(job.output.url)
    shown = [storage.read(name) for name in ("_manifest.json", "_report.html")]
    assert not [data for data in shown if SECRET.encode() in data]
    assert (again.requests_sent, again.reused) == (0, 12)
    assert len(promptmill.read(job.output.url)) == 12


def test_a_job_whose_signature_alone_changed_is_told_so_without_the_signature(
    make_job: MakeJob, tmp_path: Path
) -> None:
    from dataclasses import replace

    from tests.promptmill.output.test_parts import finished

    old, new = (make_job(3, input__url=f"https://h/a.csv?sig={SECRET}{n}") for n in range(2))
    standing = replace(finished([]), job=public_job(old), job_digest=job_digest(old))

    assert describe_difference(standing, new) == ["input.url: the same address with another password or signature"]
    assert read_manifest(Storage(str(tmp_path))) is None
