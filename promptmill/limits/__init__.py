"""Limits of requests a minute, tokens a minute and money.

`RateLimiter` and `Budget` are one each for everything that sends in a process: reserve before an attempt, settle after it
in a `finally`. `PriceList` turns tokens into money, `approved_cap` keeps what a person approved beside the output.

Promised: first come, first served. A reservation that doesn't fit under the cap isn't made, and `overshoot`
says by how much answers can still pass it. No header that a provider sends can stop the limiter for good, or have it ask
a provider that refuses more than once a second.

Watch out: everything here lives on one event loop. Time is the limiter's clock, which tests set. Money is `Decimal`.
"""
