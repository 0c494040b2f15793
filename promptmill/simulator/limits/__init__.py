"""Limits requests and tokens per minute: admits or refuses a model's requests, and makes the rate-limit headers.

`meters` holds the two readings of "per minute" (a bucket that refills, a sliding window); `model_limits` charges the
two limits of one model together.
Time is an argument of every function, so tests choose it. Without a limit, a model admits every request.
"""
