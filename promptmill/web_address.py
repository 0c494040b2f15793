"""Where a browser finds a file of an output, for links in the Prefect UI. Pure.

The operator may name where a folder or a bucket is served (PROMPTMILL_WEB_URLS). Without that, only two storages have pages
of their own for an object: Google's and Amazon's, which ask the reader to sign in
(https://cloud.google.com/storage/docs/access-control/cookie-based-authentication, and the S3 console's address of an
object; both from memory, 2026-11-27). A browser opens no file of a disk from a page of the web.
"""

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

SETTING = "PROMPTMILL_WEB_URLS"  # s3://lake/=https://files.example.com/lake/,/srv/out/=https://…
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")  # with one of them, s3:// is somebody else's storage


def web_address(url: str, environ: Mapping[str, str]) -> str | None:
    """The address of a file at a public URL; None if a browser finds it nowhere."""
    for prefix, address in _rules(environ.get(SETTING, "")):
        if url.startswith(prefix):
            return address + quote(url.removeprefix(prefix))
    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        return quote(url, safe=":/?&=%#+,;@~")
    if parts.scheme in ("gs", "gcs"):
        return f"https://storage.cloud.google.com/{parts.netloc}{quote(parts.path)}"
    if parts.scheme in ("s3", "s3a") and not any(environ.get(name) for name in _ENDPOINTS):
        return f"https://console.aws.amazon.com/s3/object/{parts.netloc}?prefix={quote(parts.path[1:], safe='')}"
    return None


def _rules(text: str) -> list[tuple[str, str]]:
    """Folders and their addresses, both with a slash at their end, the longest folder first; what is no rule is left out."""
    pairs = (rule.strip().rpartition("=") for rule in text.split(","))
    rules = [(f"{folder.rstrip('/')}/", f"{address.rstrip('/')}/") for folder, _, address in pairs if folder]
    return sorted(
        (rule for rule in rules if rule[1].startswith(("http://", "https://"))), key=lambda rule: -len(rule[0])
    )
