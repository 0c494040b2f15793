"""Holds the simulated provider's whole state: options, books, limits, and how often each body was tried.

Every part gets this one object. Only the server's event loop uses it, so there are no locks.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Coroutine, Mapping

from starlette.requests import Request

from promptmill.simulator.errors import quota_exceeded, wrong_key
from promptmill.simulator.limits.model_limits import ModelLimits
from promptmill.simulator.options import LIMIT_OPTIONS, SimulatorOptions, with_changes
from promptmill.simulator.state.batch_job import BatchJob
from promptmill.simulator.state.file_store import FileStore
from promptmill.simulator.state.ledger import Ledger
from promptmill.simulator.state.prompt_cache import Prompt, PromptCache
from promptmill.simulator.usage import Tokenizer, load_tokenizer
from promptmill.simulator.wire import JsonValue

_REFUSED_KEY = "invalid"
_logger = logging.getLogger(__name__)


class World:
    """The state between two requests."""

    def __init__(self, options: SimulatorOptions) -> None:
        self.options = options
        self.tokenizer: Tokenizer = load_tokenizer(options.tokenizer)
        self.ledger = Ledger()
        self.attempts: Counter[bytes] = Counter()  # body digest -> admitted attempts; counted where faults are set
        self.files = FileStore()
        self.prompts = PromptCache()
        self.batches: dict[str, BatchJob] = {}  # oldest first
        self.requests: set[asyncio.Task[None]] = set()  # under way
        self._workers: set[asyncio.Task[None]] = set()  # of batches under way
        self.is_closing = False
        self._limits: dict[str, ModelLimits] = {}
        self._serial = 0

    def configure(self, changes: Mapping[str, JsonValue]) -> None:
        """Change options while running; a changed limit starts full. Raises: ValueError, having changed nothing."""
        options = with_changes(self.options, changes)
        self.tokenizer = load_tokenizer(options.tokenizer)
        self.options = options
        if LIMIT_OPTIONS & changes.keys():
            self._limits.clear()

    def reset(self) -> None:
        """Forget bills, counts, limits, files and batches; keep the options."""
        self.ledger = Ledger()
        for worker in self._workers:
            worker.cancel()
        self.batches.clear()
        self.files.clear()
        self.attempts.clear()
        self.prompts.clear()
        self._limits.clear()

    def authorize(self, authorization: str) -> str:
        """The key of an Authorization header. Raises: ApiError 401."""
        scheme, _, key = authorization.partition(" ")
        key = key.strip() if scheme.lower() == "bearer" else ""
        expected = self.options.api_key
        if not key or key == _REFUSED_KEY or (expected is not None and key != expected):
            raise wrong_key(key)
        return key

    def authorize_request(self, request: Request) -> str:
        """The key of a request that came through Starlette. Raises: ApiError 401."""
        return self.authorize(request.headers.get("authorization", ""))

    def cached_tokens(self, call: Prompt) -> int:
        """The number of a call's cached input tokens; caches the call's own prefixes too."""
        seconds = self.options.prompt_cache_seconds
        if seconds <= 0:
            return 0
        return self.prompts.cached_tokens(call, self.tokenizer, time.monotonic(), seconds)

    def require_quota(self) -> None:
        """Raises ApiError 429 insufficient_quota if the money is used up."""
        quota = self.options.quota_after
        if quota is not None and self.ledger.billed >= quota:
            raise quota_exceeded()

    def limits_of(self, model: str) -> ModelLimits:
        """The limits of a model, made at its first request."""
        limits = self._limits.get(model)
        if limits is None:
            limits = self._limits[model] = ModelLimits(self.options, time.monotonic())
        return limits

    def next_serial(self) -> int:
        """A new number."""
        self._serial += 1
        return self._serial

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Run a batch's worker; log its error if it fails."""
        worker = asyncio.create_task(work)
        self._workers.add(worker)
        worker.add_done_callback(self._forget)

    def close(self) -> None:
        """Cancel what is under way, so that the server can stop at once, and delete all files."""
        self.is_closing = True
        for task in (*self.requests, *self._workers):
            task.cancel()
        self.files.clear()

    def _forget(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if not worker.cancelled() and (error := worker.exception()) is not None:
            _logger.error("A batch's worker failed.", exc_info=error)
