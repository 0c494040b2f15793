"""What the simulated model answers: from a request's body to the response's body.

Everything here is a pure function of the body and the options (only a response's `created` reads the clock), so the
same request gets the same answer online, in a batch and in another process.
`engine` is the way in: `read_call` refuses what the provider would refuse, `answer` makes the rest.
A body that the provider refuses raises ApiError; nothing here bills, waits or knows about HTTP.
"""
