"""Requests and tokens per minute: which requests a model admits, and what the rate-limit headers say.

`meters` holds the two readings of "per minute" (a bucket that refills, a sliding window); `model_limits` charges the
two limits of one model together.
Time is an argument of every function, so tests choose it. No limit set means that everything is admitted.
"""
