"""Makes the simulated model's answers: from a request's body to the response's body.

Everything here is a pure function of the body and the options (only a response's `created` reads the clock), so the
same request gets the same answer online, in a batch and in another process.
Begin with `engine`: `read_call` raises ApiError for a body that the provider would refuse, and `answer` makes the rest.
Nothing here bills, waits or knows about HTTP.
"""
