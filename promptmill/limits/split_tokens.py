"""Keeps separate limits of input tokens and of output tokens a minute, beside the limit of both together.

Anthropic counts so, and gateways that use its protocol ("Rate limits", from memory).
"""

from promptmill.limits.token_bucket import Kind, Pace, Reservation, ServerLimit, Tokens

Told = tuple[ServerLimit, ServerLimit]  # input, output
NOT_TOLD: Told = (ServerLimit(None, None), ServerLimit(None, None))


class RequestTooLarge(ValueError):
    """A request needs more tokens than a whole minute allows, so it could never be sent."""


class SplitTokens:
    """Two paces; a pace without a limit lets everything pass."""

    __slots__ = ("input", "output")

    def __init__(
        self, input_per_minute: float | None = None, output_per_minute: float | None = None, part: float = 1.0
    ) -> None:
        """`part` is the share of the limits that this process may use."""
        self.input, self.output = Pace(input_per_minute, part), Pace(output_per_minute, part)

    @property
    def are_known(self) -> bool:
        """Whether both limits are."""
        return self.input.limit is not None and self.output.limit is not None

    def paces(self, tokens: Tokens) -> dict[Kind, tuple[Pace, float]]:
        """Each limit with what a request takes of it."""
        return {"input_tokens": (self.input, tokens.input), "output_tokens": (self.output, tokens.output)}

    def most_output(self, input_tokens: float, together: Pace) -> float | None:
        """The most output tokens that a request with this input can reserve; None if its input alone is too large."""
        room = [] if together.limit is None else [together.limit - input_tokens]
        room += [] if self.output.limit is None else [self.output.limit]
        is_too_large = self.input.whole is not None and input_tokens > self.input.whole
        return None if is_too_large or not room or min(room) < 0 else min(room)

    def refuse_too_large(self, tokens: Tokens, together: Pace) -> None:
        """Raises RequestTooLarge if one request passes a limit by itself; `together` is the limit of both."""
        if together.whole is None and self.input.whole is None and self.output.whole is None:
            return
        found = (
            ("", tokens.total, together.whole),
            ("input ", tokens.input, self.input.whole),
            ("output ", tokens.output, self.output.whole),
        )
        for name, amount, limit in found:
            if limit is not None and amount > limit:
                raise RequestTooLarge(
                    f"a request takes {amount:,.0f} {name}tokens; the limit is {limit:,.0f} {name}tokens a minute "
                    f"(limits.{name.replace(' ', '_')}tokens_per_minute). Shorten the prompt, lower the output limit or "
                    "raise the limit."
                )

    def refill(self, now: float, factor: float) -> None:
        """Refill both for the time since the last refill, at `factor` of the pace."""
        self.input.refill(now, factor)
        self.output.refill(now, factor)

    def wait_seconds(self, tokens: Tokens, factor: float) -> float:
        """Seconds until both may be taken; 0 = now."""
        return max(self.input.wait_seconds(tokens.input, factor), self.output.wait_seconds(tokens.output, factor))

    def take(self, tokens: Tokens) -> None:
        """Take capacity of both."""
        self.input.take(tokens.input)
        self.output.take(tokens.output)

    def settle(self, reserved: Tokens, used: Tokens, *, keeps_unused: bool) -> None:
        """Correct a reservation by the real usage; with `keeps_unused` nothing is given back."""
        for pace, unused in ((self.input, reserved.input - used.input), (self.output, reserved.output - used.output)):
            pace.give_back(min(0.0, unused) if keeps_unused else unused)

    def pause(self, until: float) -> None:
        """Refill nothing until then."""
        self.input.pause(until)
        self.output.pause(until)

    def learn(self, told: Told, now: float, reservation: Reservation) -> None:
        """Use the limits in an answer's headers."""
        self.input.learn(told[0], now, reservation.sent_at, reservation.input_mark)
        self.output.learn(told[1], now, reservation.sent_at, reservation.output_mark)
