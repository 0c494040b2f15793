"""Which URLs and modules a job may name: a person who may start a deployed run may not read the worker's files with it.

On the command line a job has its user's own rights, and everything is open. A deployed run has the worker's, and its job
comes from somebody else. So it reaches the object stores and web servers that the network offers, and beside those only
what the operator lists: local paths, loopback, link-local and metadata addresses (closed_addresses.py), protocols that
lead to other ones (`simplecache::`, `reference://`, `zip://`), and modules, whose import runs their code.
An operator who lists a URL that isn't local means all remote ones: then no other remote URL is open.

The start of a deployed run closes the process (`close_to_unlisted`); until then everything is open. A list is read from
the environment once, at that moment.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from fsspec.core import split_protocol
from fsspec.implementations.local import LocalFileSystem
from yaml import MarkedYAMLError

from promptmill.closed_addresses import addresses_of, guarded_client, is_closed
from promptmill.errors import JobError
from promptmill.public_url import public_text, public_url

URLS_SETTING = "PROMPTMILL_ALLOWED_URLS"
MODULES_SETTING = "PROMPTMILL_ALLOWED_MODULES"
_OBJECT_STORES = frozenset(
    {"s3", "gs", "gcs", "az", "abfs", "abfss", "memory"}
)  # their hosts aren't the job's to choose
_WEB = frozenset({"http", "https"})
_LOCAL = frozenset({"", "file", "local"})
_POSTGRES = frozenset({"postgresql", "postgres"})
_SAME = {"s3a": "s3"}
_TABLE = re.compile(r"^(delta|iceberg)\+(?=[a-z0-9]+://)")  # says that a table is there; the rest says where
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

Kind = Literal["local", "store", "web", "other"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads."""

    kind: Kind
    spelled: str  # as prefixes are compared: of a local one the real path, of others the URL
    addresses: tuple[str, ...] = ()  # of a web server


@dataclass(frozen=True, slots=True)
class Rules:
    """What jobs in this process may name."""

    is_open: bool  # on the command line: everything
    urls: tuple[Target, ...] = ()  # prefixes, as the operator listed them
    modules: tuple[str, ...] = ()  # packages or modules, with all below them


OPEN = Rules(is_open=True)
_rules = OPEN  # of this process


def verdict(target: Target, rules: Rules) -> str | None:
    """Why a URL may not be used, as the end of a sentence that begins with it; None where it may. Pure."""
    if rules.is_open or any(_is_below(target, prefix) for prefix in rules.urls):
        return None
    if target.kind == "local":
        return "is a local path that isn't listed"
    if target.kind == "other":
        return "has a protocol, or a chain of them, that isn't listed"
    if any(is_closed(address) for address in target.addresses):
        return "leads to a loopback, link-local or metadata address that isn't listed"
    if _CONTROL.search(target.spelled):
        return "has a control character in it"
    if any(prefix.kind != "local" for prefix in rules.urls):
        return "isn't below a listed URL"
    return None


def verdict_on_stranger(target: Target, rules: Rules) -> str | None:
    """The same for a URL that came from others where everything is open: web servers count only where they are listed,
    since nothing there keeps a redirect from leading to a closed address. Pure.
    """
    is_listed = any(_is_below(target, prefix) for prefix in rules.urls)
    return "is on a web server that isn't listed" if target.kind == "web" and not is_listed else verdict(target, rules)


def is_listed_module(module: str, rules: Rules) -> bool:
    """Whether a job may have a module imported. Pure."""
    return rules.is_open or any(module == name or module.startswith(f"{name}.") for name in rules.modules)


def locate(url: str) -> Target:
    """Where a URL leads, links on the disk and names of hosts followed. Blocks."""
    url = _TABLE.sub("", url)
    protocol, rest = _split(url)
    if "::" in url:
        return Target("other", url)
    if protocol == "duckdb":
        return Target("local", os.path.realpath(unquote(rest.partition("?")[0])))
    if protocol in _POSTGRES:
        server, slash, path = rest.partition("/")
        return Target("other", f"postgresql://{server.rpartition('@')[2].lower()}{slash}{path}")
    if protocol in _LOCAL:
        return Target("local", os.path.realpath(str(LocalFileSystem._strip_protocol(url))))  # pyright: ignore[reportPrivateUsage]
    protocol = _SAME.get(protocol, protocol)
    if protocol in _OBJECT_STORES:
        return Target("store", f"{protocol}://{rest}")
    if protocol not in _WEB:
        return Target("other", url)
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:  # no URL, which opening it says
        return Target("other", url)
    server = parts.netloc.rpartition("@")[2].lower()
    return Target("web", f"{protocol}://{server}{url[_end_of_server(url) :]}", addresses_of(host))


def read_rules(environment: Mapping[str, str]) -> Rules:
    """What an operator lists for deployed runs. Entries that allow nothing are left out. Blocks."""
    urls = tuple(_as_prefix(entry) for entry in listed(environment, URLS_SETTING) if _unusable(entry) is None)
    return Rules(is_open=False, urls=urls, modules=tuple(listed(environment, MODULES_SETTING)))


def listed(environment: Mapping[str, str], setting: str) -> list[str]:
    """The entries of a setting, in order: separated by commas, spaces around them dropped."""
    return [entry for text in environment.get(setting, "").split(",") if (entry := text.strip())]


def _unusable(entry: str) -> str | None:
    """Why an entry of PROMPTMILL_ALLOWED_URLS allows nothing; None where it is fine."""
    protocol, rest = _split(entry)
    if "::" in entry or protocol not in _LOCAL:
        return None
    path = rest if protocol else rest.removeprefix("file:")
    return None if path.startswith("/") else "is no absolute path and no URL"


def close_to_unlisted() -> None:
    """From now on jobs in this process may name only what the environment lists; nothing opens it again."""
    global _rules  # noqa: PLW0603 - the switch of the process
    _rules = read_rules(os.environ)


def is_closed_process() -> bool:
    """Whether this process carries a deployed run."""
    return not _rules.is_open


def require_allowed(url: str, place: str) -> None:
    """Raises: JobError where a job may not name this URL; `place` is the job's key or the run's parameter. Blocks."""
    rules = _rules
    reason = None if rules.is_open else verdict(locate(url), rules)
    if reason is not None:
        raise JobError(
            f"{place} {public_url(url)!r} {reason}; a deployed run uses object stores, web servers and what the worker's "
            f"{URLS_SETTING} lists. Name another place, or have the operator list this one."
        )


def require_allowed_module(module: str) -> None:
    """Raises: JobError where a job may not have this module imported."""
    if not is_listed_module(module, _rules):
        raise JobError(
            f"request.response_schema names a class in {module!r}, which isn't listed; importing a module runs its code, "
            f"so a deployed run imports only what the worker's {MODULES_SETTING} lists. Give the JSON Schema itself, or "
            "have the operator list the package."
        )


def client_options(url: str) -> dict[str, Any]:
    """What fsspec needs beside a URL, so that no redirect of an unlisted server leads to a closed address. Blocks."""
    rules = _rules
    if rules.is_open or _split(url)[0] not in _WEB or "::" in url:
        return {}
    target = locate(url)
    return {} if any(_is_below(target, prefix) for prefix in rules.urls) else {"get_client": guarded_client}


def describe_cause(error: Exception) -> str:
    """What went wrong with a file; in a deployed run only the kind and the place, since the rest may quote the file."""
    if _rules.is_open:
        return str(error)
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{type(error).__name__} at line {mark.line + 1}, column {mark.column + 1}"
    return type(error).__name__


def describe_rules(environment: Mapping[str, str]) -> str:
    """What deployed runs may use where the environment is this one, in one line for an operator."""
    urls, modules = listed(environment, URLS_SETTING), listed(environment, MODULES_SETTING)
    is_strict = any(prefix.kind != "local" for prefix in read_rules(environment).urls)
    shown = public_text(", ".join(urls)) or "no local path"
    remote = "no other URL" if is_strict else "any object store or public web server"
    return f"{shown}; {remote}; modules: {', '.join(modules) or 'none'}"


def _split(url: str) -> tuple[str, str]:
    """Protocol, empty where a URL has none, and the rest, as fsspec sees them."""
    protocol, rest = split_protocol(url)
    return protocol or "", rest


def _as_prefix(entry: str) -> Target:
    """A listed entry, spelled as the URLs below it are; its host isn't looked up."""
    protocol, rest = _split(entry)
    if "::" in entry or protocol not in _WEB:
        return locate(entry)
    server, slash, path = rest.partition("/")
    return Target("web", f"{protocol}://{server.lower()}{slash}{path}")


def _is_below(target: Target, prefix: Target) -> bool:
    """Whether a target is a listed one or inside it; names are compared whole: /data lists /data/in, not /database."""
    if target.kind != prefix.kind or not target.spelled.startswith(prefix.spelled):
        return False
    rest = target.spelled[len(prefix.spelled) :]
    if target.kind != "local" and not _is_plain(rest):
        return False
    return not rest or prefix.spelled.endswith("/") or rest[0] in "/?"


def _is_plain(rest: str) -> bool:
    """Whether what follows a listed URL stays below it: no step up, no further chain, no trick with characters."""
    decoded = unquote(rest).replace("\\", "/")
    return ".." not in decoded.split("/") and "::" not in rest and _CONTROL.search(rest) is None


def _end_of_server(url: str) -> int:
    """Where the path of a web URL begins."""
    start = url.index("://") + 3
    return min((at for sign in "/?#" if (at := url.find(sign, start)) >= 0), default=len(url))


def problems(entries: Sequence[str]) -> list[str]:
    """The entries of PROMPTMILL_ALLOWED_URLS that allow nothing, each with the reason."""
    return [f"{public_url(entry)!r} {reason}" for entry in entries if (reason := _unusable(entry)) is not None]
