"""Guesses the output tokens of the next answer from the answers before it."""

from collections import deque

UNKNOWN_OUTPUT_TOKENS = (
    1_000  # tokens, for the first answers of a job without a limit; high, since we reserve money by it
)
_SEEN_AT_LEAST = 20
_REMEMBERED = 1_000
_REFRESH_EVERY = 50  # answers; 200 once a thousand are remembered, since sorting them takes long
_CAUTION = 1.5  # times the largest answer so far, to reserve money


class OutputGuess:
    """Quantiles over the last thousand answers."""

    def __init__(self) -> None:
        self._seen: deque[int] = deque(maxlen=_REMEMBERED)
        self._count = 0
        self._usual = self._largest = UNKNOWN_OUTPUT_TOKENS

    def saw(self, output_tokens: int) -> None:
        """Learn from an answer."""
        self._seen.append(output_tokens)
        self._count += 1
        if self._count < _SEEN_AT_LEAST:
            return
        self._largest = max(self._largest, output_tokens)
        every = _REFRESH_EVERY if self._count < _REMEMBERED else 4 * _REFRESH_EVERY
        if self._count == _SEEN_AT_LEAST or self._count % every == 0:
            ordered = sorted(self._seen)
            self._usual = ordered[int(0.95 * (len(ordered) - 1))]
            self._largest = ordered[-1]

    def expected(self, limit: int | None) -> int:
        """Tokens to reserve from a rate limit: first the job's own limit, then the 95th percentile of the answers."""
        if self._count < _SEEN_AT_LEAST:
            return limit if limit is not None else UNKNOWN_OUTPUT_TOKENS
        return self._usual if limit is None else min(limit, self._usual)

    def at_most(self, limit: int | None) -> int:
        """Tokens to reserve money for: the job's own limit, or one and a half times the largest answer so far."""
        if limit is not None:
            return limit
        if self._count < _SEEN_AT_LEAST:
            return max(UNKNOWN_OUTPUT_TOKENS, int(_CAUTION * max(self._seen, default=0)))
        return int(_CAUTION * self._largest) + 1
