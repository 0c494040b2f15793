"""Limits of requests, tokens and money."""
