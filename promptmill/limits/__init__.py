"""Keeps a run within its limits on requests a minute, tokens a minute and money.

A process has one `RateLimiter` and one `Budget`. Every sender reserves before an attempt, and settles after it in a
`finally`. `PriceList` turns tokens into money; `approved_cap` keeps the amount that a person approved beside the output.

Promise: first come, first served. `Budget` makes no reservation that doesn't fit under the cap, and `overshoot` says by how
much answers can still pass it. No header of a provider can stop the limiter for good, or make it ask a refusing provider
more than once a second.

Watch out: everything here lives on one event loop. Time is the limiter's clock, which tests set. Money is `Decimal`.
"""
