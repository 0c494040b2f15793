"""How a run asks for structured answers, and what its first requests teach it of that.

Servers differ in what they take: a JSON Schema, JSON of any shape, or neither. A refusal that names the format is no row's
fault: the row is asked again in the next weaker mode, which costs nothing, and so is the whole run unless the mode was
answered before. A server may also ignore the format and answer in prose: if the first answers are no JSON and none
is right, the run goes on in the next weaker mode, where the schema stands in the prompt.
A gateway may pass single rows on to a weaker server. So once the mode was answered, only many refusals in a row, with no
answer between, change the run's mode.
Lives on one event loop. Refusals as they were seen: tests/promptmill/provider/test_formats.py.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from promptmill.job.request_spec import StructuredMode
from promptmill.provider.attempt import Call, Complaint, Tries
from promptmill.provider.retry_policy import FORMAT_PARAMS, GiveUp, TryAgain, Verdict
from promptmill.shorten import shorten

MOST_OUT = 2  # requests out before the first answer, while the mode isn't known: so a refused mode costs two of them
_MOST_REFUSALS = 8  # in a row that change the mode of a run that was answered in it
_MOST_FORMLESS = 2  # answers that are no JSON, none of which is right, that change the mode of a run
_SHOWN_CHARACTERS = 200
_WORDS = re.compile(
    r"response[_ ]?format|json[_ -]?(schema|object|mode)|structured[_ -]?(output|response|generation)|text\.format|"
    r"guided[_ -](json|decoding)|(compil|pars|fail|support|invalid)[^.]{0,40}grammar|"
    r"grammar[^.]{0,40}(compil|pars|fail|support|error)|requested parameters",
    re.IGNORECASE,
)
_log = logging.getLogger("promptmill")


def refuses_format(verdict: Verdict) -> bool:
    """Whether the provider refuses the way in which a structured answer was asked for. Pure."""
    if isinstance(verdict, GiveUp) and verdict.kind == "invalid_request":
        return verdict.param in FORMAT_PARAMS or _WORDS.search(verdict.message) is not None
    if isinstance(verdict, TryAgain) and verdict.kind == "server_error":
        return _WORDS.search(verdict.message) is not None
    return False


class Formats:
    """The modes that a run may use; shared by all chunks of a process."""

    def __init__(
        self,
        modes: Sequence[StructuredMode],
        write: Callable[[bytes, StructuredMode], bytes],
        tokens: Mapping[StructuredMode, int],
    ) -> None:
        """`modes`: the strongest first; `write` gives a body in a mode, `tokens` what the schema then adds to it."""
        self._modes = modes
        self._write = write
        self._tokens = tokens
        self._place = 0
        self._refusals = 0  # in a row, of the mode in use
        self._is_proven = False  # the mode in use was answered
        self._is_followed = False  # an answer followed the schema, in whatever mode
        self._formless = 0  # answers of the mode in use that are no JSON, before any that followed the schema

    @property
    def is_learning(self) -> bool:
        """Whether another mode may turn out to be needed."""
        return len(self._modes) > 1

    @property
    def mode(self) -> StructuredMode:
        """The mode in use."""
        return self._modes[self._place]

    def call_for(self, call: Call, state: Tries) -> Call:
        """A row's request in the mode in use, or in a weaker one that the row has got to; noted in its state."""
        state.format_place = max(state.format_place, self._place)
        mode = self._modes[state.format_place]
        if mode == "json_schema":  # as bodies are made
            return call
        more = self._tokens[mode] - self._tokens[self._modes[0]]
        return replace(call, body=self._write(call.body, mode), input_tokens=max(0, call.input_tokens + more))

    def answered(self, place: int) -> None:
        """A request was answered in the mode at a place."""
        if place == self._place:
            self._is_proven, self._refusals = True, 0

    def judged(self, complaint: Complaint | None, state: Tries) -> None:
        """An answer was judged; the row is asked once more if it won't do."""
        self._is_followed = self._is_followed or complaint is None
        if complaint is None or not complaint.is_formless or self._is_followed:
            return
        if state.format_place == self._place:
            self._formless += 1
            if self._formless >= _MOST_FORMLESS and self._place + 1 < len(self._modes):
                self._weaken(complaint.message)
        state.format_place = min(state.format_place + 1, len(self._modes) - 1)

    def goes_on(self, verdict: Verdict, state: Tries) -> bool:
        """Whether a refused row is to be asked in a weaker mode; False when the format isn't to blame, or none is left."""
        place = state.format_place
        if place + 1 >= len(self._modes) or not refuses_format(verdict):
            return False
        if place == self._place:
            self._refusals += 1
            if not self._is_proven or self._refusals >= _MOST_REFUSALS:
                self._weaken(verdict.message)
        state.format_place = max(place + 1, self._place)
        return True

    def _weaken(self, reason: str) -> None:
        refused, self._place = self.mode, self._place + 1
        self._refusals, self._formless, self._is_proven = 0, 0, False
        _log.warning(
            "the provider doesn't give structured answers by %s (%s); the run goes on with request.structured: %s, the "
            "schema stands in the prompt, and answers are checked here. Set it in the job to ask so from the first request on",
            refused,
            shorten(reason, _SHOWN_CHARACTERS),
            self.mode,
        )
