"""Links that a browser can follow from the Prefect UI to a file of an output."""

import pytest

from promptmill.web_address import SETTING, web_address

SERVED = {
    SETTING: "s3://lake/=https://files.test/all/, s3://lake/a/=https://a.test, /srv/out=http://host:8000,nonsense,x=y"
}


@pytest.mark.parametrize(
    ("url", "environ", "expected"),
    [
        pytest.param("https://host/o/r.html?sig=***", {}, "https://host/o/r.html?sig=%2A%2A%2A", id="a-web-server"),
        pytest.param(
            "gs://lake/my out/r.html", {}, "https://storage.cloud.google.com/lake/my%20out/r.html", id="google"
        ),
        pytest.param(
            "s3://lake/o/r.html", {}, "https://console.aws.amazon.com/s3/object/lake?prefix=o%2Fr.html", id="amazon"
        ),
        pytest.param("s3://lake/o/r.html", {"AWS_ENDPOINT_URL": "http://minio"}, None, id="another-s3"),
        pytest.param("/srv/out/r.html", {}, None, id="a-disk"),
        pytest.param("s3://lake/o/r>.html", SERVED, "https://files.test/all/o/r%3E.html", id="served"),
        pytest.param("s3://lake/a/r.html", SERVED, "https://a.test/r.html", id="the-longest-folder-counts"),
        pytest.param("/srv/out/r.html", SERVED, "http://host:8000/r.html", id="a-disk-that-is-served"),
        pytest.param("/srv/outside/r.html", SERVED, None, id="not-below-the-folder"),
        pytest.param("x/r.html", SERVED, None, id="no-address"),
    ],
)
def test_a_file_has_the_address_at_which_a_browser_finds_it(url: str, environ: dict[str, str], expected: str | None):
    assert web_address(url, environ) == expected
