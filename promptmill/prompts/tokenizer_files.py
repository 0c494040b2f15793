"""tiktoken's encodings, found without ever hanging: in a cache, else in `bpe-openai`'s own copy, else by a download.

tiktoken itself downloads without any timeout (0.14.0, `load.py`), and takes its cache folder from an environment
variable. So this module finds and checks the file first. Then it sets the variable to the file's folder, under a lock
and only while tiktoken loads, and sets it back.
A file is accepted by its SHA-256 alone, so it doesn't matter who wrote it. URLs and digests: tiktoken 0.14.0,
`tiktoken_ext/openai_public.py`, read 2026-11-24; a test compares them with the installed one.
"""

import gzip
import hashlib
import importlib.util
import os
import queue
import tempfile
import threading
import zlib
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import tiktoken

_CACHE_VARIABLE = "TIKTOKEN_CACHE_DIR"
_DOWNLOAD_SECONDS = 8.0  # for the whole file, 2 to 4 MB
_SOCKET_SECONDS = 5.0  # to connect, and between two pieces


@dataclass(frozen=True, slots=True)
class EncodingFile:
    """tiktoken's file of one encoding: tokens and their ranks."""

    name: str
    sha256: str

    @property
    def url(self) -> str:
        """The address from which tiktoken downloads it."""
        return f"https://openaipublic.blob.core.windows.net/encodings/{self.name}.tiktoken"

    @property
    def cache_name(self) -> str:
        """Its file name in tiktoken's cache folder."""
        return hashlib.sha1(self.url.encode(), usedforsecurity=False).hexdigest()

    def is_intact(self, data: bytes) -> bool:
        """Whether these bytes are the file."""
        return hashlib.sha256(data).hexdigest() == self.sha256


FILES = {
    file.name: file
    for file in (
        EncodingFile("o200k_base", "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"),
        EncodingFile("cl100k_base", "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"),
    )
}


def bundled_data(file: EncodingFile) -> bytes | None:
    """The file as the package `bpe-openai` ships it, without importing that package; None when it isn't installed."""
    spec = importlib.util.find_spec("bpe_openai")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        with suppress(OSError, EOFError, zlib.error):
            data = gzip.decompress(Path(folder, "data", f"{file.name}.tiktoken.gz").read_bytes())
            return data if file.is_intact(data) else None
    return None


def download(file: EncodingFile, seconds: float = _DOWNLOAD_SECONDS) -> bytes | None:
    """The file from tiktoken's address; None when it doesn't arrive in time.

    A thread of its own downloads it, because the lookup of a host name has no timeout.
    """
    answers: queue.Queue[bytes | None] = queue.Queue()
    threading.Thread(target=lambda: answers.put(_fetch(file)), name=f"download-{file.name}", daemon=True).start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return None


def _fetch(file: EncodingFile) -> bytes | None:
    import requests  # tiktoken depends on it; it is slow to import and rarely needed

    try:
        response = requests.get(file.url, timeout=_SOCKET_SECONDS)
        response.raise_for_status()
    except requests.RequestException:
        return None
    return response.content if file.is_intact(response.content) else None


class Encodings:
    """The encodings of a process: it looks for each once, and tries to download each at most once."""

    def __init__(
        self,
        environ: Mapping[str, str] = os.environ,
        bundled: Callable[[EncodingFile], bytes | None] = bundled_data,
        downloaded: Callable[[EncodingFile], bytes | None] = download,
    ) -> None:
        self._environ = environ
        self._sources = (bundled, downloaded)
        self._lock = threading.Lock()
        self._loaded: dict[str, tiktoken.Encoding] = {}
        self._tried: set[str] = set()  # names of the files that it tried to download

    def get(self, name: str, *, allow_download: bool = True) -> tiktoken.Encoding | None:
        """The encoding of that name; None when its file can't be found or downloaded."""
        with self._lock:
            if name not in self._loaded:
                encoding = self._find(FILES[name], allow_download)
                if encoding is None:
                    return None
                self._loaded[name] = encoding
            return self._loaded[name]

    def _find(self, file: EncodingFile, allow_download: bool) -> tiktoken.Encoding | None:
        for folder in cache_folders(self._environ):
            if _is_cached(file, folder):
                return _load(file, folder)
        bundled, downloaded = self._sources
        data = bundled(file)
        if data is None and allow_download and file.name not in self._tried:
            self._tried.add(file.name)
            data = downloaded(file)
        return None if data is None else self._keep_and_load(file, data)

    def _keep_and_load(self, file: EncodingFile, data: bytes) -> tiktoken.Encoding:
        """Write the file to the cache for the next process and load it; without a cache, use a temporary folder."""
        folder = own_folder(self._environ)
        if folder is not None:
            with suppress(OSError):
                write_whole(folder, file.cache_name, data)
                return _load(file, folder)
        with tempfile.TemporaryDirectory(prefix="promptmill-tiktoken-") as temporary:
            write_whole(Path(temporary), file.cache_name, data)
            return _load(file, Path(temporary))


def cache_folders(environ: Mapping[str, str]) -> list[Path]:
    """The folders that may hold a file already: the one that tiktoken would choose, then our own."""
    chosen = environ.get(_CACHE_VARIABLE, environ.get("DATA_GYM_CACHE_DIR"))
    theirs = Path(tempfile.gettempdir(), "data-gym-cache") if chosen is None else Path(chosen) if chosen else None
    return [folder for folder in (theirs, own_folder(environ)) if folder is not None]


def own_folder(environ: Mapping[str, str]) -> Path | None:
    """The folder to write files to: TIKTOKEN_CACHE_DIR, else one in the user's cache; None when caching is off ("")."""
    chosen = environ.get(_CACHE_VARIABLE)
    if chosen is not None:
        return Path(chosen) if chosen else None
    base = environ.get("XDG_CACHE_HOME") or environ.get("LOCALAPPDATA")
    with suppress(RuntimeError):  # no home directory
        return (Path(base) if base else Path.home() / ".cache") / "promptmill" / "tiktoken"
    return None


def write_whole(folder: Path, name: str, data: bytes) -> None:
    """Write a file completely or not at all, even while other processes write it. Raises: OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix="_writing-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, folder / name)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _is_cached(file: EncodingFile, folder: Path) -> bool:
    try:
        return file.is_intact((folder / file.cache_name).read_bytes())
    except OSError:
        return False


def _load(file: EncodingFile, folder: Path) -> tiktoken.Encoding:
    with _tiktoken_reads(folder):
        return tiktoken.get_encoding(file.name)


@contextmanager
def _tiktoken_reads(folder: Path) -> Generator[None]:
    before = os.environ.get(_CACHE_VARIABLE)
    os.environ[_CACHE_VARIABLE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_CACHE_VARIABLE]
        else:
            os.environ[_CACHE_VARIABLE] = before
